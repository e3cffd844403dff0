import type pg from "pg";

/** Whether some import of this user stands on this stored upload. */
export async function isBlobInUse(pool: pg.Pool, userId: string, blobKey: string): Promise<boolean> {
  const { rows } = await pool.query("select from import_jobs where user_id = $1 and blob_key = $2 limit 1", [
    userId,
    blobKey,
  ]);
  return rows.length > 0;
}

/** Those of the stored uploads that some import stands on. */
export async function blobsInUse(pool: pg.Pool, blobKeys: readonly string[]): Promise<ReadonlySet<string>> {
  const { rows } = await pool.query<{ blob_key: string }>(
    "select blob_key from import_jobs where blob_key = any($1::text[])",
    [blobKeys],
  );
  return new Set(rows.map((row) => row.blob_key));
}
