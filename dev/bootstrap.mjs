/**
 * Behind every npm script: makes sure the dependencies are there, then runs the command. Built-ins only up to
 * that point, because on a fresh clone there is nothing else.
 *
 *   node dev/bootstrap.mjs start | demo [--exit] | test [mocha arguments] | check | bench NAME [arguments] | user [arguments]
 *     | keys [arguments] | stats check|rebuild | relink | search rebuild
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { installWhenStale } from "./install.mjs";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");
const COMMANDS = ["start", "demo", "test", "check", "bench", "user", "keys", "stats", "relink", "search"];

async function main([command, ...args]) {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new Error(`playlog needs Node 20.19 or later; this is ${process.version}.`);
  }
  if (!COMMANDS.includes(command)) throw new Error(`usage: node dev/bootstrap.mjs ${COMMANDS.join(" | ")}`);
  process.chdir(ROOT);
  await installWhenStale(ROOT);

  const { register } = await import("tsx/esm/api");
  register();
  const { run } = await import(`./commands/${command}.ts`);
  await run(args);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(
    error instanceof Error && error.stack !== undefined && process.env.DEBUG ? error.stack : error.message,
  );
  process.exitCode = 1;
});
