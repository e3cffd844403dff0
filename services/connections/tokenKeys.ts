/** The keys that users' tokens are encrypted with: from the settings, or made once and kept in the home folder. */
import { randomBytes } from "node:crypto";
import path from "node:path";
import type pg from "pg";
import { StartupError } from "../../utils/entryPoint.js";
import { keptText, readKeptText } from "../../utils/keptFile.js";
import { parseTokenKeys, type TokenKey } from "../../utils/providerSettings.js";

const FILE = "token-key";
const KEY_BYTES = 32;

/**
 * The first key is for new tokens. A key that was kept before there were any in the settings still opens what it closed, as
 * long as its file is there.
 */
export async function loadTokenKeys(
  home: string,
  configured: readonly TokenKey[],
): Promise<readonly [TokenKey, ...TokenKey[]]> {
  const [first, ...more] = configured;
  if (first === undefined) return [keyIn(home, await keptText(home, FILE, newKey))];
  const kept = await readKeptText(home, FILE);
  const old = kept === null ? [] : [keyIn(home, kept)];
  return [first, ...more, ...old.filter(({ id }) => configured.every((key) => key.id !== id))];
}

const newKey = (): string =>
  `kept-${randomBytes(4).toString("hex")}:${randomBytes(KEY_BYTES).toString("base64")}`;

function keyIn(home: string, text: string): TokenKey {
  const [key, ...more] = parseTokenKeys(text) ?? [];
  if (key !== undefined && more.length === 0) return key;
  throw new Error(`${path.join(home, FILE)} is damaged: it should hold one key, as in TOKEN_KEYS`);
}

/** How many connections have tokens under each key, by its id. */
export async function keysInUse(pool: pg.Pool): Promise<ReadonlyMap<string, number>> {
  const { rows } = await pool.query<{ id: string; connections: number }>(
    `select token_key_id as id, count(*)::int as connections from connections
      where token_key_id is not null group by 1 order by 1`,
  );
  return new Map(rows.map(({ id, connections }) => [id, connections]));
}

/** Thrown at the start of a process that could not open what others have closed. */
export class MissingTokenKeyError extends StartupError {
  constructor(ids: readonly string[]) {
    super(
      `The database holds tokens under ${ids.length} key(s) that are not here: ${ids.join(", ")}. ` +
        "Add them to TOKEN_KEYS, or forget those tokens with: npm run keys -- drop ID",
    );
    this.name = "MissingTokenKeyError";
  }
}

export async function assertKeysComplete(pool: pg.Pool, keys: readonly TokenKey[]): Promise<void> {
  const missing = [...(await keysInUse(pool)).keys()].filter((id) => keys.every((key) => key.id !== id));
  if (missing.length > 0) throw new MissingTokenKeyError(missing);
}
