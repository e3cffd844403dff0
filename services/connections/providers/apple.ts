/**
 * Apple Music's list of tracks last played: about fifty, without times. What is new is found by comparing the list with the
 * one of the last poll; the newest is taken to end at the poll, each other before the next, so times are inferred. The
 * first poll only remembers the list, for nobody knows when those were played. See docs/adr/0025.
 */
import { createHash } from "node:crypto";
import { asFields } from "../../import/formats/fields.js";
import { ProviderError, ReauthNeededError } from "../errors.js";
import { appleLive, type AppleRecord } from "./appleLive.js";
import { newAtTop } from "./appleLists.js";
import { type Call, listIn, objectIn, wholeNumber } from "./calls.js";
import type { IdentifyAccount, PageRequest, SyncPage, SyncProvider } from "./types.js";

const NAME = "Apple Music";
const PAGE = 30;
const DEEPEST = 60;
const LONGEST_ID = 100;
const UNKNOWN_DURATION_MS = 180_000;
const LONGEST_DURATION_MS = 24 * 60 * 60 * 1000;

/** A poll of which more pages are to come. */
interface Poll {
  readonly polledAt: number;
  /** Ids so far, the newest first. */
  readonly seen: readonly string[];
  /** How long before the poll the tracks so far began, one after the other. */
  readonly elapsedMs: number;
}

interface Position {
  /** The list as it was at the last poll; null before the first. */
  readonly list: readonly string[] | null;
  readonly polledAt: number | null;
  readonly poll: Poll | null;
}

export interface AppleAccess {
  readonly url: string;
  /** Of playlog's own account with Apple; made anew before it ends. */
  readonly developerToken: () => string;
}

export function appleProvider(apple: AppleAccess, call: Call): SyncProvider {
  return { provider: "apple", format: appleLive, page: (request) => page(apple, call, request) };
}

async function page(apple: AppleAccess, call: Call, request: PageRequest): Promise<SyncPage> {
  const { access, signal } = request;
  const { list, polledAt, poll } = positionOf(request.cursor);
  const userToken = await access.token();
  if (userToken === null) throw new ReauthNeededError("The connection has no token");
  const offset = poll?.seen.length ?? 0;
  const answer = await ask(apple, call, { userToken, offset, signal, who: access.connectionId });
  const data = listIn(answer["data"], NAME, PAGE);

  const now: Poll = poll ?? { polledAt: request.polledAt, seen: [], elapsedMs: 0 };
  const ids = data.map(idOf);
  const seen = [...now.seen, ...ids];
  const fresh = list === null ? seen.length : newAtTop(seen, list);
  const deeper = typeof answer["next"] === "string" && data.length > 0 && seen.length < DEEPEST;
  // Nothing known in sight yet: the next page belongs to the same poll.
  const more = deeper && (list === null || fresh === seen.length);

  let elapsedMs = now.elapsedMs;
  const records = data.slice(0, Math.max(0, fresh - offset)).map((item, index): AppleRecord => {
    elapsedMs += durationOf(item);
    return {
      item,
      place: offset + index,
      polledAt: now.polledAt,
      since: polledAt,
      startedAt: list === null ? null : now.polledAt - elapsedMs,
    };
  });
  const next: Position = more
    ? { list, polledAt, poll: { polledAt: now.polledAt, seen, elapsedMs } }
    : { list: seen, polledAt: now.polledAt, poll: null };
  const lost = !more && list !== null && list.length > 0 && polledAt !== null && fresh === seen.length;
  return {
    records,
    cursor: { ...next },
    more,
    gap: lost ? { from: polledAt, until: Math.max(polledAt, now.polledAt - elapsedMs) } : null,
  };
}

async function ask(
  { url: base, developerToken }: AppleAccess,
  call: Call,
  asked: {
    readonly userToken: string;
    readonly offset: number;
    readonly signal?: AbortSignal;
    readonly who: string;
  },
) {
  const url = new URL(`${base}/v1/me/recent/played/tracks`);
  url.searchParams.set("limit", String(PAGE));
  url.searchParams.set("types", "songs,library-songs");
  if (asked.offset > 0) url.searchParams.set("offset", String(asked.offset));
  const headers = { authorization: `Bearer ${developerToken()}`, "music-user-token": asked.userToken };
  const signal = asked.signal === undefined ? {} : { signal: asked.signal };
  const answer = await call({ url, headers, ...signal }, asked.who);
  if (answer.status === 403) throw new ReauthNeededError("Apple Music does not take the user token any more");
  if (answer.status === 401) throw new ProviderError("Apple Music does not take the developer token", false);
  return objectIn(answer, NAME);
}

function idOf(item: unknown): string {
  const id = asFields(item)?.["id"];
  return typeof id === "string" ? id.slice(0, LONGEST_ID) : "";
}

function durationOf(item: unknown): number {
  const duration = wholeNumber(asFields(asFields(item)?.["attributes"])?.["durationInMillis"]);
  return duration === null || duration > LONGEST_DURATION_MS ? UNKNOWN_DURATION_MS : duration;
}

/** The API names no account: the token itself is all there is to tell accounts apart. */
export function identifyApple(apple: AppleAccess, call: Call): IdentifyAccount {
  return async ({ token }, signal) => {
    const userToken = token ?? "";
    await ask(apple, call, {
      userToken,
      offset: 0,
      who: "connecting",
      ...(signal === undefined ? {} : { signal }),
    });
    const digest = createHash("sha256").update(userToken).digest("hex").slice(0, 16);
    return { account: `apple-${digest}`, proven: true };
  };
}

function positionOf(cursor: PageRequest["cursor"]): Position {
  const poll = asFields(cursor?.["poll"]);
  const startedAt = wholeNumber(poll?.["polledAt"]);
  const seen = idsIn(poll?.["seen"]);
  return {
    list: idsIn(cursor?.["list"]),
    polledAt: wholeNumber(cursor?.["polledAt"]),
    poll:
      startedAt === null || seen === null
        ? null
        : { polledAt: startedAt, seen, elapsedMs: wholeNumber(poll?.["elapsedMs"]) ?? 0 },
  };
}

function idsIn(value: unknown): readonly string[] | null {
  return Array.isArray(value) && value.every((id) => typeof id === "string") ? value : null;
}
