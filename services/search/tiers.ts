/**
 * Which documents are the most popular ones. A search looks among a few thousand first, and goes on among more only when
 * these have too few; so each step has sixteen times as many documents, and words that are so much rarer.
 */
import type pg from "pg";
import { inTransaction } from "../import/writing/transaction.js";
import { TIER_OF } from "./documents.js";

/** Documents of tier 0, and of tiers 0 and 1 together. */
export const TIER_SIZES = [4096, 65_536] as const;
/** A tier may grow and shrink by this factor before the borders are moved. */
const SLACK = 2;
/** Documents that change their tier in one statement. */
const MOVES_AT_ONCE = 5000;

interface TierState {
  readonly top: number;
  readonly popular: number;
  readonly all: number;
}

/**
 * Moves the borders when tiers have become too large or too small, and the documents with them. Only for whoever holds
 * the lock of the index. Returns how many documents moved.
 */
export async function settleTiers(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<TierState>(
    `select count(*) filter (where tier = 0) as top, count(*) filter (where tier <= 1) as popular, count(*) as all
       from search_documents`,
  );
  const { top, popular, all } = rows[0]!;
  if (fits(top, TIER_SIZES[0], all) && fits(popular, TIER_SIZES[1], all)) return 0;
  await moveBorders(pool);
  let moved = 0;
  for (;;) {
    const some = await moveSome(pool);
    moved += some;
    if (some < MOVES_AT_ONCE) return moved;
  }
}

const fits = (size: number, wanted: number, all: number): boolean =>
  size <= wanted * SLACK && size >= Math.min(wanted / SLACK, all);

/** The border of a tier is the last document that is in it; where all are, there is none. */
async function moveBorders(pool: pg.Pool): Promise<void> {
  await inTransaction(pool, async (client) => {
    for (const [tier, size] of TIER_SIZES.entries()) {
      await client.query(
        `update search_tiers set (min_popularity, min_id) = (
           select coalesce(max(popularity), 0), coalesce(max(entity_id), 0) from (
             select popularity, entity_id from search_documents
              order by popularity desc, entity_id desc offset $2 limit 1) last)
          where tier = $1`,
        [tier, size - 1],
      );
    }
  });
}

/** By their places, which stay: nobody else writes them. A join would be planned for a table that was small a moment ago. */
async function moveSome(pool: pg.Pool): Promise<number> {
  const moved = await pool.query(
    `update search_documents d set tier = ${TIER_OF.replaceAll("d.id", "d.entity_id")}
      where ctid = any (array(
        select ctid from (
          select s.ctid, s.tier as old, ${TIER_OF} as tier
            from search_documents s cross join lateral (select s.popularity, s.entity_id as id) d
        ) c where tier <> old limit ${MOVES_AT_ONCE}))`,
  );
  return moved.rowCount ?? 0;
}
