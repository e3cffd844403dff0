/** Accounts put straight into the table, for tests below the api: no password fits them. */
import { randomUUID } from "node:crypto";
import type pg from "pg";

export async function insertUser(
  pool: pg.Pool,
  historyVisibility: "public" | "private" = "private",
): Promise<string> {
  const id = randomUUID();
  await pool.query(
    `insert into users (id, email, username, password_hash, history_visibility) values ($1, $2, $3, '-', $4)`,
    [id, `${id}@example.org`, `user-${id}`, historyVisibility],
  );
  return id;
}
