/** `npm run keys`: the keys that users' tokens are encrypted with. */
import { randomBytes } from "node:crypto";
import pg from "pg";
import { dropKey, rotateTokens } from "../../services/connections/rotation.js";
import { keysInUse, loadTokenKeys } from "../../services/connections/tokenKeys.js";
import { TokenVault } from "../../services/connections/vault.js";
import { parseTokenKeys, type TokenKey } from "../../utils/providerSettings.js";
import { homeOf } from "../app.js";
import { runningDatabaseUrl } from "../running.js";

const USAGE = `usage: npm run keys -- COMMAND
  list       the keys that are set, and how many connections have tokens under each
  new        make a key, to be put in front of TOKEN_KEYS; the api and the worker need it before the next step
  rotate     encrypt all tokens under the first key; the others may be taken out afterwards
  drop ID    forget all tokens under a key that is lost; their users are asked to connect again

Works on DATABASE_URL, or on the playlog that npm start runs here, with TOKEN_KEYS or the key in PLAYLOG_HOME.`;

const KEY_BYTES = 32;

export async function run(args: readonly string[]): Promise<void> {
  const command = commandOf(args);
  if (command === undefined) throw new Error(USAGE);
  const pool = new pg.Pool({ connectionString: await runningDatabaseUrl(), max: 1 });
  try {
    console.log(await command(pool, await keysOf(process.env)));
  } finally {
    await pool.end();
  }
}

type Keys = readonly [TokenKey, ...TokenKey[]];
/** Prints what it gives. */
type Command = (pool: pg.Pool, keys: Keys) => Promise<string>;

/** Undefined for what cannot be understood. */
export function commandOf(args: readonly string[]): Command | undefined {
  const [name, id, ...more] = args;
  if (more.length > 0) return undefined;
  if (name === "drop") return id === undefined ? undefined : (pool, keys) => drop(pool, keys, id);
  if (id !== undefined) return undefined;
  switch (name) {
    case "list":
      return list;
    case "new":
      return newKey;
    case "rotate":
      return rotate;
    default:
      return undefined;
  }
}

async function keysOf(env: NodeJS.ProcessEnv): Promise<Keys> {
  const text = env["TOKEN_KEYS"] ?? "";
  const configured = text === "" ? [] : parseTokenKeys(text);
  if (configured === null)
    throw new Error("TOKEN_KEYS must have the form id:base64 of 32 bytes, with commas");
  return loadTokenKeys(homeOf(env), configured);
}

async function list(pool: pg.Pool, keys: Keys): Promise<string> {
  const used = await keysInUse(pool);
  const known = keys.map(
    ({ id }, at) => `${id}: ${used.get(id) ?? 0} connection(s)${at === 0 ? ", for new tokens" : ""}`,
  );
  const missing = [...used]
    .filter(([id]) => keys.every((key) => key.id !== id))
    .map(([id, connections]) => `${id}: ${connections} connection(s), but the key is not here`);
  return [...known, ...missing].join("\n");
}

const newKey = (): Promise<string> =>
  Promise.resolve(
    `k${new Date().toISOString().slice(0, 10).replaceAll("-", "")}-${randomBytes(2).toString("hex")}:` +
      randomBytes(KEY_BYTES).toString("base64"),
  );

async function rotate(pool: pg.Pool, keys: Keys): Promise<string> {
  const vault = new TokenVault(keys);
  const { rotated, unreadable } = await rotateTokens(pool, vault);
  const left = [...unreadable].map(([id, connections]) => `${connections} under ${id}`);
  if (left.length > 0) {
    throw new Error(
      `Tokens of ${rotated} connection(s) are under ${vault.keyId} now; those of others do not open: ${left.join(", ")}`,
    );
  }
  return `Tokens of ${rotated} connection(s) were put under ${vault.keyId}; no other key is in use`;
}

async function drop(pool: pg.Pool, keys: Keys, id: string): Promise<string> {
  if (keys.some((key) => key.id === id)) {
    throw new Error(`The key ${id} is here: tokens under it can be put under another with rotate`);
  }
  return `${await dropKey(pool, id)} connection(s) ask to be connected again`;
}
