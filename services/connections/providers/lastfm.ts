/** The scrobbles of a Last.fm account, by its name; the key of playlog's own API account is all that is needed. */
import { asFields } from "../../import/formats/fields.js";
import { lastfmPages } from "../../import/formats/lastfm.js";
import { ProviderError, RateLimitedError, UnknownAccountError } from "../errors.js";
import type { ProviderResponse } from "../http/providerFetch.js";
import { asObject, type Call, type Json, listIn, objectIn, wholeNumber } from "./calls.js";
import { liveAs } from "./live.js";
import type { IdentifyAccount, PageRequest, SyncProvider } from "./types.js";
import { type Bounds, type Walked, walkedPage } from "./walk.js";

const NAME = "Last.fm";
const PAGE = 200;
const LIMITED_WAIT_MS = 60_000;

/** Its own numbers for what went wrong, whatever the status says. */
const FAILURES = { unknownUser: 6, hidden: 17, limited: 29 };
const PASSING: readonly unknown[] = [8, 11, 16];

export interface LastfmSettings {
  readonly apiKey: string;
  readonly url: string;
}

export const lastfmLive = liveAs("lastfm-live", lastfmPages);

export function lastfmProvider(settings: LastfmSettings, call: Call): SyncProvider {
  return {
    provider: "lastfm",
    format: lastfmLive,
    rereads: true,
    page: (request) => walkedPage(NAME, request, (bounds) => scrobbles(settings, call, request, bounds)),
  };
}

async function scrobbles(
  settings: LastfmSettings,
  call: Call,
  { access, signal }: PageRequest,
  { before, floor }: Bounds,
): Promise<Walked> {
  const url = methodUrl(settings, "user.getRecentTracks", access.account);
  url.searchParams.set("limit", String(PAGE));
  if (before !== null) url.searchParams.set("to", String(before));
  if (floor !== null) url.searchParams.set("from", String(floor));
  const recent = asObject(read(await call({ url, signal }, access.connectionId))["recenttracks"], NAME);
  // One track alone is no list. The one being played comes on top of those asked for.
  const track = recent["track"] ?? [];
  const records = listIn(Array.isArray(track) ? track : [track], NAME, PAGE + 1);
  const pages = wholeNumber(Number(asFields(recent["@attr"])?.["totalPages"]));
  return { records, seconds: records.map(secondOf), limit: PAGE, last: pages !== null && pages <= 1 };
}

function methodUrl({ apiKey, url }: LastfmSettings, method: string, user: string): URL {
  const asked = new URL(`${url}/2.0/`);
  for (const [name, value] of Object.entries({ method, user, api_key: apiKey, format: "json" })) {
    asked.searchParams.set(name, value);
  }
  return asked;
}

function secondOf(record: unknown): number | null {
  const uts = asFields(asFields(record)?.["date"])?.["uts"];
  return typeof uts === "string" && /^\d{1,12}$/.test(uts) ? Number(uts) : null;
}

function read(answer: ProviderResponse): Json {
  const failure = failureIn(answer);
  if (failure === FAILURES.limited) throw new RateLimitedError(Date.now() + LIMITED_WAIT_MS);
  if (failure === FAILURES.hidden) {
    throw new ProviderError("The account hides its recent tracks in the privacy settings of Last.fm", false);
  }
  if (failure !== undefined) {
    throw new ProviderError(`Last.fm refused with its error ${String(failure)}`, PASSING.includes(failure));
  }
  return objectIn(answer, NAME);
}

/** Undefined for an answer without one, or that is not to be understood at all. */
function failureIn(answer: ProviderResponse): number | undefined {
  try {
    const failure = asFields(answer.json())?.["error"];
    return typeof failure === "number" ? failure : undefined;
  } catch {
    return undefined;
  }
}

export function identifyLastfm(settings: LastfmSettings, call: Call): IdentifyAccount {
  return async ({ username }, signal) => {
    const url = methodUrl(settings, "user.getInfo", username ?? "");
    const answer = await call({ url, ...(signal === undefined ? {} : { signal }) }, "connecting");
    if (failureIn(answer) === FAILURES.unknownUser) {
      throw new UnknownAccountError("Last.fm knows no user of this name");
    }
    const name = asFields(read(answer)["user"])?.["name"];
    if (typeof name !== "string" || name === "")
      throw new ProviderError("Last.fm did not say whose account it is", false);
    return { account: name, proven: false };
  };
}
