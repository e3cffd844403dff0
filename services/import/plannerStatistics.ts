/**
 * The planner's knowledge of the history. While it has none, it takes plays without a leader for one in two hundred, and
 * sorts a whole history to show a page of it: 40 times the work. Autovacuum looks once a minute, too late for the
 * person who waits for the end of a first import.
 */
import type { Pool } from "pg";
import type { Logger } from "../../utils/logger.js";

/** By how much the table has grown since it was last looked at. Slower growth is autovacuum's business. */
const GROWTH = 4;
/** About 3,000 plays; fewer are sorted in no time. */
const WORTH_IT_PAGES = 100;

/** Analyses the history when most of it is new. Never throws: no import depends on it. */
export async function keepStatistics(pool: Pool, log: Logger): Promise<void> {
  try {
    const { rowCount } = await pool.query(
      `select from pg_class
        where oid = 'listening_history'::regclass
          and pg_relation_size(oid) / current_setting('block_size')::int > greatest($1, $2 * relpages)`,
      [WORTH_IT_PAGES, GROWTH],
    );
    // Another part may be at it, or autovacuum: then there is nothing to do.
    if (rowCount === 1) await pool.query("analyze (skip_locked) listening_history");
  } catch (error) {
    log.warn("the history could not be analysed", { error });
  }
}
