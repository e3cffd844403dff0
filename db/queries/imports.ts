import type pg from "pg";

/** Whether some import stands on this stored upload. */
export async function isBlobInUse(pool: pg.Pool, blobKey: string): Promise<boolean> {
  const { rows } = await pool.query("select from import_jobs where blob_key = $1 limit 1", [blobKey]);
  return rows.length > 0;
}
