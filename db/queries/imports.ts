import type pg from "pg";

/** Whether some import of this user stands on this stored upload. */
export async function isBlobInUse(pool: pg.Pool, userId: string, blobKey: string): Promise<boolean> {
  const { rows } = await pool.query("select from import_jobs where user_id = $1 and blob_key = $2 limit 1", [
    userId,
    blobKey,
  ]);
  return rows.length > 0;
}
