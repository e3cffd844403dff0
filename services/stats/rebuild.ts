/** Brings the sums of one user up to date with the plays, in one transaction that sees one state of both. */
import type pg from "pg";
import type { PoolClient } from "pg";
import { sqlState } from "../../db/errors.js";
import {
  type BuildState,
  buildAllTime,
  buildState,
  buildYear,
  builtFingerprints,
  deleteYears,
  digests,
  fingerprints,
  labelBuild,
  playedBetween,
  type YearToBuild,
} from "../../db/queries/statsBuilds.js";
import { runTransaction } from "../../db/transaction.js";
import { ALL_TIME } from "../../db/queries/statsRollups.js";
import { dayNumber, isTimeZone, localDay, startOfDay } from "../../utils/timeZones.js";

/** The account's time zone is not known here or not to PostgreSQL: nothing can be built, and nothing is read. */
export class UnknownTimeZoneError extends Error {}
const UNKNOWN_ZONE = "22023";

export interface BuildResult {
  /** Years that were built or taken away; empty when all of them were right. */
  readonly years: readonly number[];
}

/**
 * Builds the years whose plays are not those that their sums were made from. Null when there is no such account. Throws
 * `UnknownTimeZoneError`, and SQLSTATE 40001 or 23503 when the account changed or went meanwhile.
 */
export async function refreshUser(pool: pg.Pool, userId: string): Promise<BuildResult | null> {
  return inOneSnapshot(pool, "commit", async (client) => {
    const state = await buildState(client, userId);
    if (state === null) return null;
    const years = await build(client, userId, state, state.built?.timeZone === state.timeZone);
    return { years };
  });
}

export interface CheckResult {
  /** Whether the sums are read at all: they are not, while they are older than the plays. */
  readonly fresh: boolean;
  /** Years in which they are not what the plays come to; 0 stands for all of time. */
  readonly differing: readonly number[];
}

/**
 * Makes all sums anew, whatever is there, and compares. `keep`: the new ones stay. Null when there is no such account, or
 * when it has none yet. Throws as `refreshUser` does.
 */
export async function checkUser(pool: pg.Pool, userId: string, keep: boolean): Promise<CheckResult | null> {
  return inOneSnapshot(pool, keep ? "commit" : "rollback", async (client) => {
    const state = await buildState(client, userId);
    if (state === null || (state.built === null && !keep)) return null;
    const before = await digests(client, userId);
    await build(client, userId, state, false);
    if (state.built === null) return null;
    const after = await digests(client, userId);
    const years = [...new Set([...before.keys(), ...after.keys()])].sort((a, b) => a - b);
    return {
      fresh: state.built.fresh && state.built.timeZone === state.timeZone,
      differing: years.filter((year) => before.get(year) !== after.get(year)),
    };
  });
}

/** @param keepGood whether years with the fingerprint they had need not be built */
async function build(
  client: PoolClient,
  userId: string,
  state: BuildState,
  keepGood: boolean,
): Promise<readonly number[]> {
  if (!isTimeZone(state.timeZone)) throw new UnknownTimeZoneError();
  const built = await builtFingerprints(client, userId);
  const wanted = await yearsOf(client, userId, state.timeZone);
  const isGood = ({ year, fingerprint }: YearToBuild): boolean => keepGood && built.get(year) === fingerprint;
  const toBuild = wanted.filter((year) => !isGood(year));
  const there = new Set(wanted.map(({ year }) => year));
  const gone = [...built.keys()].filter((year) => !there.has(year));
  const changed = [...new Set([...gone, ...toBuild.map(({ year }) => year)])].sort((a, b) => a - b);
  if (changed.length > 0) {
    await deleteYears(client, userId, [...changed, ALL_TIME]);
    for (const year of toBuild) await buildYear(client, userId, state.timeZone, year);
    if (wanted.length > 0) await buildAllTime(client, userId);
  }
  await labelBuild(client, userId, state);
  return changed;
}

/** The years of the zone in which there are plays. */
async function yearsOf(
  client: PoolClient,
  userId: string,
  timeZone: string,
): Promise<readonly YearToBuild[]> {
  const played = await playedBetween(client, userId);
  if (played === null) return [];
  const yearOf = (instant: Date): number => {
    const day = localDay(instant.getTime(), timeZone);
    return new Date(day * 86_400_000).getUTCFullYear();
  };
  const first = yearOf(played.first);
  const last = yearOf(played.last);
  const starts = Array.from(
    { length: last - first + 2 },
    (_, index) => new Date(startOfDay(dayNumber(first + index, 1, 1), timeZone)),
  );
  const found = await fingerprints(client, userId, starts);
  return [...found].map(([index, fingerprint]) => ({
    year: first + index,
    fingerprint,
    from: starts[index]!,
    until: starts[index + 1]!,
  }));
}

async function inOneSnapshot<T>(
  pool: pg.Pool,
  end: "commit" | "rollback",
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  try {
    return await runTransaction(pool, { begin: "begin isolation level repeatable read", end }, work);
  } catch (error) {
    throw sqlState(error) === UNKNOWN_ZONE ? new UnknownTimeZoneError() : error;
  }
}
