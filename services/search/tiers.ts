/**
 * Which documents are the most popular ones. A search looks among a few thousand first, and goes on among more only when
 * these have too few; so each step has sixteen times as many documents, and words that are so much rarer. What nobody has
 * played yet comes behind everything that is there, so the names an import brings are of the last tier.
 */
import type pg from "pg";
import { inTransaction } from "../../db/transaction.js";
import { mergePending } from "./pending.js";

type Client = Pick<pg.ClientBase, "query">;

/** Documents of tier 0, and of tiers 0 and 1 together. */
export const TIER_SIZES = [4096, 65_536] as const;
/** A tier may grow and shrink by this factor before the borders are moved. */
const SLACK = 2;
/** Documents that change their tier in one statement. */
const MOVES_AT_ONCE = 5000;

/** The last document of a tier, in order of popularity and, the older before the newer, of id. */
export interface Border {
  readonly popularity: number;
  readonly id: number;
}

/** What no document reaches: more plays than can be counted. */
export const NONE_YET: Border = { popularity: 2 ** 31 - 1, id: 0 };

/** One for each tier but the last. */
export async function readBorders(client: Client): Promise<readonly Border[]> {
  const { rows } = await client.query<Border>(
    "select min_popularity as popularity, max_id as id from search_tiers order by tier",
  );
  return rows;
}

export async function writeBorder(client: Client, tier: number, { popularity, id }: Border): Promise<void> {
  await client.query("update search_tiers set min_popularity = $2, max_id = $3 where tier = $1", [
    tier,
    popularity,
    id,
  ]);
}

export function tierOf(document: Border, borders: readonly Border[]): number {
  const tier = borders.findIndex(
    (border) =>
      document.popularity > border.popularity ||
      (document.popularity === border.popularity && document.id <= border.id),
  );
  return tier === -1 ? borders.length : tier;
}

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
  const borders = await moveBorders(pool);
  let moved = 0;
  for (;;) {
    const some = await moveSome(pool, borders);
    moved += some;
    if (some < MOVES_AT_ONCE) break;
  }
  await mergePending(pool);
  return moved;
}

const fits = (size: number, wanted: number, all: number): boolean =>
  size <= wanted * SLACK && size >= Math.min(wanted, all) / SLACK;

/** Where there are fewer documents than a tier may have, its border is the last of them. */
async function moveBorders(pool: pg.Pool): Promise<readonly Border[]> {
  return inTransaction(pool, async (client) => {
    const borders: Border[] = [];
    for (const [tier, size] of TIER_SIZES.entries()) {
      const { rows } = await client.query<Border>(
        `select popularity, id from (
           select popularity, entity_id as id from search_documents order by popularity desc, entity_id limit $1
         ) best order by popularity, id desc limit 1`,
        [size],
      );
      const border = rows[0] ?? NONE_YET;
      await writeBorder(client, tier, border);
      borders.push(border);
    }
    return borders;
  });
}

/** By their places, which stay: nobody else writes them. A join would be planned for a table that was small a moment ago. */
async function moveSome(pool: pg.Pool, borders: readonly Border[]): Promise<number> {
  const tier = `case ${borders
    .map(
      ({ popularity, id }, index) => `when (-popularity, entity_id) <= (${-popularity}, ${id}) then ${index}`,
    )
    .join(" ")} else ${borders.length} end`;
  const moved = await pool.query(
    `update search_documents set tier = ${tier}
      where ctid = any (array(select ctid from search_documents where tier <> ${tier} limit ${MOVES_AT_ONCE}))`,
  );
  return moved.rowCount ?? 0;
}
