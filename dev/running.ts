/** For commands that work on the database of a playlog which may be running meanwhile. */
import { existsSync } from "node:fs";
import { createDatabase, type Database } from "../db/knex.js";
import { homeOf, ownDatabase, serversOf } from "./app.js";
import { runningPostgres } from "./postgres.mjs";

/** `DATABASE_URL`, from `.env` as well, or the embedded server of `npm start`. Throws with a sentence for the user. */
export async function runningDatabaseUrl(): Promise<string> {
  if (existsSync(".env")) process.loadEnvFile(".env");
  const given = process.env["DATABASE_URL"];
  if (given !== undefined && given !== "") return given;
  const home = homeOf(process.env);
  const server = await runningPostgres(serversOf(home));
  if (server === undefined)
    throw new Error(`playlog does not run in ${home}: start it with npm start, or set DATABASE_URL`);
  return ownDatabase(server);
}

export interface CommandTimes {
  readonly statementTimeoutMs: number;
  readonly lockTimeoutMs: number;
}

/** A few connections to it, named after the command, whose statements may take as long as the command lets them. */
export async function openRunningDatabase(
  command: string,
  { statementTimeoutMs, lockTimeoutMs }: CommandTimes,
  poolMax = 2,
): Promise<Database> {
  return createDatabase(
    {
      url: await runningDatabaseUrl(),
      poolMin: 0,
      poolMax,
      connectTimeoutMs: 5000,
      statementTimeoutMs,
      lockTimeoutMs,
      idleTimeoutMs: 30_000,
      idleTransactionTimeoutMs: statementTimeoutMs,
    },
    { applicationName: `playlog-${command}` },
  );
}
