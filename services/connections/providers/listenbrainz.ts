/**
 * The listens of a ListenBrainz account, by its name; a token is needed only where the server asks for one. After the first
 * walk one page from the last known play on nearly always is all there is.
 */
import { listenbrainz } from "../../import/formats/listenbrainz.js";
import { ReauthNeededError, UnknownAccountError } from "../errors.js";
import { asObject, type Call, type Json, listIn, objectIn, wholeNumber } from "./calls.js";
import { liveAs } from "./live.js";
import type { IdentifyAccount, PageRequest, SyncProvider } from "./types.js";
import { type Bounds, type Walked, walkedPage } from "./walk.js";

const NAME = "ListenBrainz";
const PAGE = 1000;

export const listenbrainzLive = liveAs("listenbrainz-live", listenbrainz);

export function listenbrainzProvider(url: string, call: Call): SyncProvider {
  return {
    provider: "listenbrainz",
    format: listenbrainzLive,
    rereads: true,
    page: (request) => walkedPage(NAME, request, (bounds) => listens(url, call, request, bounds)),
  };
}

async function listens(
  base: string,
  call: Call,
  { access, signal }: PageRequest,
  { before, floor }: Bounds,
): Promise<Walked> {
  const url = new URL(`${base}/1/user/${encodeURIComponent(access.account)}/listens`);
  url.searchParams.set("count", String(PAGE));
  // Both bounds exclude their own second. Which end a server begins at is told only for `max_ts`.
  const fromBelow = before === null && floor !== null;
  if (before !== null) url.searchParams.set("max_ts", String(before));
  else if (floor !== null) url.searchParams.set("min_ts", String(Math.max(0, floor - 1)));

  const token = await access.token();
  const answer = await call({ url, headers: headersFor(token), signal }, access.connectionId);
  if (answer.status === 401) throw new ReauthNeededError("ListenBrainz does not take the token any more");
  const payload = asObject(objectIn(answer, NAME)["payload"], NAME);
  const records = listIn(payload["listens"], NAME, PAGE);
  const seconds = records.map((record) => wholeNumber((record as Json | null)?.["listened_at"]));
  const isFull = records.length === PAGE;
  if (fromBelow) return { records, seconds, limit: PAGE, last: !isFull, fromBelow: isFull };
  const oldest = wholeNumber(payload["oldest_listen_ts"]);
  // A full page may leave out listens of the very second in which the history begins.
  const atTheEnd = oldest === null || seconds.some((time) => time !== null && time <= oldest);
  const last = records.length === 0 || (!isFull && atTheEnd);
  return { records, seconds, limit: PAGE, last };
}

const headersFor = (token: string | null): Record<string, string> =>
  token === null ? {} : { authorization: `Token ${token}` };

export function identifyListenbrainz(base: string, call: Call): IdentifyAccount {
  return async ({ token, username }, signal) => {
    const aborted = signal === undefined ? {} : { signal };
    if (token !== null) {
      const request = { url: `${base}/1/validate-token`, headers: headersFor(token), ...aborted };
      const { valid, user_name: name } = objectIn(await call(request, "connecting"), NAME);
      if (valid !== true || typeof name !== "string")
        throw new ReauthNeededError("ListenBrainz does not take the token");
      return { account: name, proven: true };
    }
    const url = `${base}/1/user/${encodeURIComponent(username ?? "")}/listen-count`;
    const answer = await call({ url, ...aborted }, "connecting");
    if (answer.status === 404) throw new UnknownAccountError("ListenBrainz knows no user of this name");
    objectIn(answer, NAME);
    return { account: username ?? "", proven: false };
  };
}
