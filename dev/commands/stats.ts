/** `npm run stats`: whether the sums behind statistics are those of the plays, and new ones. */
import { setTimeout as sleep } from "node:timers/promises";
import { type CheckedAccount, checkStatistics } from "../../services/stats/checking.js";
import { openRunningDatabase } from "../running.js";

const USAGE = `usage: npm run stats -- COMMAND
  check      count everything anew and say whether anything differs; changes nothing
  rebuild    the same, and keep what was counted

Ends with 1 when sums that were in use were wrong. Works on DATABASE_URL, or on the playlog that npm start runs here.`;

/** A year of a long history is a second's work. */
const STATEMENT_TIMEOUT_MS = 600_000;
const BUSY_PAUSE_MS = 500;

const WORDS: Readonly<Record<CheckedAccount["state"], string>> = {
  right: "right",
  wrong: "WRONG",
  behind: "older than the plays, so not in use",
  none: "without sums",
  impossible: "in a time zone that is not known",
};

export async function run(args: readonly string[]): Promise<void> {
  const [command, ...more] = args;
  if ((command !== "check" && command !== "rebuild") || more.length > 0) throw new Error(USAGE);
  const database = await openRunningDatabase(
    "stats",
    { statementTimeoutMs: STATEMENT_TIMEOUT_MS, lockTimeoutMs: 5000 },
    3,
  );
  const counts = new Map<CheckedAccount["state"], number>();
  const each = ({ username, state, years }: CheckedAccount): void => {
    counts.set(state, (counts.get(state) ?? 0) + 1);
    if (state === "wrong") console.log(`${username}: ${years.map(yearName).join(", ")} differ`);
  };
  try {
    while ((await checkStatistics(database.pool, { keep: command === "rebuild", each })) === null)
      await sleep(BUSY_PAUSE_MS);
  } finally {
    await database.close();
  }
  const summary = [...counts].map(([state, count]) => `${count} ${WORDS[state]}`);
  console.log(`Accounts: ${summary.length === 0 ? "none" : summary.join("; ")}`);
  if ((counts.get("wrong") ?? 0) > 0) process.exitCode = 1;
}

const yearName = (year: number): string => (year === 0 ? "all of time" : String(year));
