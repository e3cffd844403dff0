/** Moves users' tokens from one key to another, beside running processes. */
import type pg from "pg";
import { inTransaction } from "../../db/transaction.js";
import { markNeedsReauth } from "./reauth.js";
import { type SecretPlace, type TokenVault, VaultError } from "./vault.js";

export interface Rotated {
  /** Connections whose tokens are under the first key now and were not before. */
  readonly rotated: number;
  /** Connections whose tokens did not open, by the id of the key they need. They are as they were. */
  readonly unreadable: ReadonlyMap<string, number>;
}

interface SecretRow {
  readonly id: string;
  readonly access_token: Buffer | null;
  readonly refresh_token: Buffer | null;
  readonly token_key_id: string;
}

const ROWS_PER_BATCH = 100;

/**
 * Encrypts all tokens under the first key. Each row for itself and under its lock, so that a renewal comes before or after
 * it, and a run that is broken off may simply be begun again.
 */
export async function rotateTokens(pool: pg.Pool, vault: TokenVault): Promise<Rotated> {
  let rotated = 0;
  const unreadable = new Map<string, number>();
  let after = NIL;
  for (;;) {
    const { rows } = await pool.query<{ id: string }>(
      "select id from connections where token_key_id <> $1 and id > $2 order by id limit $3",
      [vault.keyId, after, ROWS_PER_BATCH],
    );
    for (const { id } of rows) {
      const outcome = await rotateOne(pool, vault, id);
      if (outcome === "rotated") rotated += 1;
      else if (outcome !== "gone") unreadable.set(outcome.needs, (unreadable.get(outcome.needs) ?? 0) + 1);
    }
    const last = rows.at(-1);
    if (last === undefined) return { rotated, unreadable };
    after = last.id;
  }
}

const NIL = "00000000-0000-0000-0000-000000000000";

/** `gone`: deleted, or moved by somebody else. */
async function rotateOne(
  pool: pg.Pool,
  vault: TokenVault,
  id: string,
): Promise<"rotated" | "gone" | { readonly needs: string }> {
  return inTransaction(pool, async (client) => {
    const { rows } = await client.query<SecretRow>(
      `select id, access_token, refresh_token, token_key_id from connections
        where id = $1 and token_key_id <> $2 for no key update`,
      [id, vault.keyId],
    );
    const row = rows[0];
    if (row === undefined) return "gone";
    try {
      await client.query(
        "update connections set access_token = $2, refresh_token = $3, token_key_id = $4 where id = $1",
        [id, moved(vault, row, "access_token"), moved(vault, row, "refresh_token"), vault.keyId],
      );
      return "rotated";
    } catch (error) {
      if (error instanceof VaultError) return { needs: row.token_key_id };
      throw error;
    }
  });
}

function moved(
  vault: TokenVault,
  row: SecretRow,
  column: Exclude<SecretPlace["column"], "verifier">,
): Buffer | null {
  const bytes = row[column];
  if (bytes === null) return null;
  const place = { row: row.id, column };
  return vault.seal(vault.open({ keyId: row.token_key_id, bytes }, place), place).bytes;
}

/** For a key that is lost: its connections ask their users to connect again. Gives how many. */
export async function dropKey(pool: pg.Pool, keyId: string): Promise<number> {
  return inTransaction(pool, async (client) => {
    const { rows } = await client.query<{ id: string }>(
      "select id from connections where token_key_id = $1 for no key update",
      [keyId],
    );
    for (const { id } of rows) await markNeedsReauth(client, id);
    return rows.length;
  });
}
