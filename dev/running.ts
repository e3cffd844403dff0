/** For commands that work on the database of a playlog which may be running meanwhile. */
import { existsSync } from "node:fs";
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
