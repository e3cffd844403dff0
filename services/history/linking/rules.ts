/**
 * Which sightings of different sources are one play. A pure function of the sightings of one user and one loose key
 * (services/catalog/keys.ts): in whatever order they came, they are linked in the same way. See docs/adr/0022.
 */
import type { PlaySource } from "../../import/types.js";
import { type Pair, pairUp } from "./pairing.js";

/** Raise it when any sightings could be linked differently; `npm run relink` then links all histories anew. */
export const LINK_RULE_VERSION = 1;

/** Who knows more leads: of one play, the sighting whose source comes first here is the one that is shown and counted. */
export const LEADER_ORDER = [
  "manual",
  "spotify-extended",
  "spotify-live",
  "apple-export",
  "listenbrainz",
  "koito",
  "maloja",
  "lastfm",
  "youtube-json",
  "youtube-html",
  "lastfm-minute",
  "spotify-account",
  "apple-live",
  "apple-daily",
  "playlog",
] as const satisfies readonly PlaySource[];

/** How far either way an end that its source tells may be off, in milliseconds. */
export const endSlackMs = (source: PlaySource): number => (source === "spotify-account" ? 60_000 : 2000);

/** One row of a history, with all times in Unix milliseconds. */
export interface Sighting {
  readonly id: number;
  readonly source: PlaySource;
  /** The source key in hex: tells sightings apart for ever, which ids do not. */
  readonly key: string;
  readonly playedAt: number;
  readonly startEarliest: number;
  readonly startLatest: number;
  /** Null where the source tells no end. */
  readonly endedAt: number | null;
}

/** Names two sightings that their owner says are two plays, in either order. */
export const overrideOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);

/** Whether two sightings of one loose key can be one play. Symmetric; never true within one family. */
export function matches(a: Sighting, b: Sighting): boolean {
  return a.source !== b.source && (startsOverlap(a, b) || endsOverlap(a, b));
}

const startsOverlap = (a: Sighting, b: Sighting): boolean =>
  a.startEarliest <= b.startLatest && b.startEarliest <= a.startLatest;

/** Somebody who pauses moves the start that is reckoned from an end, so ends are compared too. */
const endsOverlap = (a: Sighting, b: Sighting): boolean =>
  a.endedAt !== null &&
  b.endedAt !== null &&
  Math.abs(a.endedAt - b.endedAt) <= endSlackMs(a.source) + endSlackMs(b.source);

/** How far two sightings are from each other, in milliseconds: by start or by end, whichever fits better. */
function distance(a: Sighting, b: Sighting): number {
  const starts = Math.abs(a.playedAt - b.playedAt);
  return a.endedAt === null || b.endedAt === null
    ? starts
    : Math.min(starts, Math.abs(a.endedAt - b.endedAt));
}

/** Of more sightings within reach only the nearest are looked at; no listener has so many of one track in minutes. */
const NEAREST = 200;

/** The sightings of one play; the first leads. */
export type Play = [leader: Sighting, ...others: Sighting[]];

/**
 * The leader of each sighting by id, null for those that lead. Family by family in the leaders' order, its sightings are
 * paired with the plays found so far, one to one: in the order of time as many as can be, and as near to each other as can
 * be; then what is left in the same way. What is not paired is a play of its own. A sighting joins a play when it matches any sighting of it and
 * `overrides` tells it apart from none.
 *
 * Sightings that are paired with nothing have no influence: without them all others are linked in the same way.
 */
export function linkSightings(
  sightings: readonly Sighting[],
  overrides: ReadonlySet<string> = NONE,
): Map<number, number | null> {
  const leaders = new Map<number, number | null>();
  for (const play of playsOf(sightings, overrides)) {
    const [leader, ...others] = play;
    leaders.set(leader.id, null);
    for (const { id } of others) leaders.set(id, leader.id);
  }
  return leaders;
}

const NONE: ReadonlySet<string> = new Set();

/** In the order of their leaders: by family, then time. */
export function playsOf(
  sightings: readonly Sighting[],
  overrides: ReadonlySet<string> = NONE,
): readonly Readonly<Play>[] {
  let plays: Play[] = [];
  for (const family of byFamily(sightings)) {
    const free = plays.length === 0 ? family : join(plays, family, overrides);
    plays = [...plays, ...free.map((leader): Play => [leader])];
  }
  return plays;
}

function byFamily(sightings: readonly Sighting[]): Sighting[][] {
  const families = new Map<PlaySource, Sighting[]>();
  for (const sighting of sightings) {
    const family = families.get(sighting.source);
    if (family === undefined) families.set(sighting.source, [sighting]);
    else family.push(sighting);
  }
  return LEADER_ORDER.flatMap((source) => {
    const family = families.get(source);
    return family === undefined ? [] : [family.sort(earlier)];
  });
}

/** A total order that ids have no part in. */
const earlier = (a: Sighting, b: Sighting): number => a.playedAt - b.playedAt || (a.key < b.key ? -1 : 1);

/** Adds sightings of a further family to the plays that they match; returns the others. */
function join(plays: Play[], family: readonly Sighting[], overrides: ReadonlySet<string>): Sighting[] {
  const sorted = plays.toSorted(([a], [b]) => earlier(a, b));
  const reach = reachOf(sorted);
  const pairs = family.flatMap((sighting, row) => candidatesOf(sighting, row, sorted, reach, overrides));
  const joined = new Set<Sighting>();
  for (const { row, column } of pairUp(pairs, sorted.length)) {
    sorted[column]!.push(family[row]!);
    joined.add(family[row]!);
  }
  return family.filter((sighting) => !joined.has(sighting));
}

interface Member {
  readonly sighting: Sighting;
  readonly column: number;
}

/** The sightings of all plays by what a search for overlaps begins with. */
interface Reach {
  readonly byStart: readonly Member[];
  /** The widest range of starts among them. */
  readonly widestStart: number;
  readonly byEnd: readonly (Member & { readonly endedAt: number })[];
}

function reachOf(plays: readonly Play[]): Reach {
  const members = plays.flatMap((play, column) => play.map((sighting): Member => ({ sighting, column })));
  let widestStart = 0;
  for (const { sighting } of members)
    widestStart = Math.max(widestStart, sighting.startLatest - sighting.startEarliest);
  const ended = members.flatMap((member) => {
    const { endedAt } = member.sighting;
    return endedAt === null ? [] : [{ ...member, endedAt }];
  });
  return {
    byStart: members.toSorted((a, b) => a.sighting.startEarliest - b.sighting.startEarliest),
    widestStart,
    byEnd: ended.sort((a, b) => a.endedAt - b.endedAt),
  };
}

const WIDEST_END_MS = endSlackMs("spotify-account");

/** The plays that the sighting can join, each with its distance from the nearest sighting of that play. */
function candidatesOf(
  sighting: Sighting,
  row: number,
  plays: readonly Play[],
  { byStart, widestStart, byEnd }: Reach,
  overrides: ReadonlySet<string>,
): Pair[] {
  const found = new Map<number, Pair>();
  const consider = ({ sighting: other, column }: Member): void => {
    if (!matches(sighting, other)) return;
    const cost = distance(sighting, other);
    const known = found.get(column);
    if (known !== undefined && known.cost <= cost) return;
    if (known === undefined && isToldApart(sighting, plays[column]!, overrides)) return;
    found.set(column, { row, column, cost, tie: tieOf(sighting, plays[column]![0]) });
  };
  const { startEarliest, startLatest, endedAt } = sighting;
  const starts = [startEarliest - widestStart, startEarliest, startLatest] as const;
  for (const member of within(byStart, (each) => each.sighting.startEarliest, ...starts)) consider(member);
  if (endedAt !== null) {
    const slack = WIDEST_END_MS + endSlackMs(sighting.source);
    for (const member of within(byEnd, (each) => each.endedAt, endedAt - slack, endedAt, endedAt + slack))
      consider(member);
  }
  return [...found.values()];
}

function isToldApart(sighting: Sighting, play: Play, overrides: ReadonlySet<string>): boolean {
  return overrides.size > 0 && play.some(({ key }) => overrides.has(overrideOf(sighting.key, key)));
}

/** Decides between pairs that are equally near by nothing but who they are: 32 bits of the two keys. */
const tieOf = (a: Sighting, b: Sighting): number => (hashPartOf(a.key) ^ hashPartOf(b.key)) >>> 0;

/** A source key is a second in 8 hex digits, then a hash. */
const hashPartOf = (key: string): number => Number.parseInt(key.slice(8, 16), 16);

/** Of items in the order of their times those from `earliest` to `latest`, at most `NEAREST` to either side of `middle`. */
function within<T>(
  items: readonly T[],
  timeOf: (item: T) => number,
  earliest: number,
  middle: number,
  latest: number,
): readonly T[] {
  const centre = firstFrom(items, timeOf, middle);
  const from = Math.max(firstFrom(items, timeOf, earliest), centre - NEAREST);
  let to = centre;
  while (to < items.length && to < centre + NEAREST && timeOf(items[to]!) <= latest) to += 1;
  return items.slice(from, to);
}

/** The first index with a time not before this one. */
function firstFrom<T>(items: readonly T[], timeOf: (item: T) => number, time: number): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (timeOf(items[middle]!) >= time) high = middle;
    else low = middle + 1;
  }
  return low;
}
