/** Who asks for statistics, and whether they may see them. */
import type pg from "pg";

export interface StatsReader {
  /** The reader's own, IANA name. */
  readonly timeZone: string;
  readonly mayRead: boolean;
}

/** Null when the reader's account is gone. */
export async function statsReader(
  pool: pg.Pool,
  readerId: string,
  ownerId: string,
): Promise<StatsReader | null> {
  const { rows } = await pool.query<StatsReader>({
    name: "stats-reader",
    text: `
      select r.time_zone as "timeZone", r.id = $2 or exists (
               select from users o where o.id = $2 and o.history_visibility = 'public' and o.disabled_at is null
             ) as "mayRead"
        from users r where r.id = $1`,
    values: [readerId, ownerId],
  });
  return rows[0] ?? null;
}
