/**
 * Keeps the search index up to date: takes what triggers noted of changed catalogue rows and makes their documents anew.
 * One process at a time, so nothing else writes the index; and nothing that others wait for is locked.
 */
import type pg from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { numberArray } from "../../db/lists.js";
import { inTransaction } from "../import/writing/transaction.js";
import { onlyOnce } from "../upkeep.js";
import { makeDocuments, replaceDocuments } from "./documents.js";
import { settleTiers } from "./tiers.js";

/** Rows of the catalogue in one transaction: about a second's work. */
const ROWS_AT_ONCE = 5000;
/** Notes that are looked at together; an import writes up to three a batch. */
const NOTES_AT_ONCE = 200;
/** A pass ends after this, so that a worker that stops is not waited for. */
const PASS_MS = 20_000;
/**
 * While an import is running, the index rests so many times as long as its last pass took: a first import names tens of
 * thousands of new tracks, and on two cores their documents would cost it a third of its speed. Larger passes are
 * cheaper, too: a word that comes again is counted once.
 */
const REST_BESIDE_IMPORTS = 6;
/** Looking whether tiers have the right size reads the whole index. */
const SETTLE_EVERY_MS = 30_000;

interface Note {
  readonly id: number;
  readonly entity: CatalogueEntity;
  readonly ids: readonly number[];
  readonly renamed: boolean;
}

/** A pass of upkeep; see UpkeepTask. Returns how many catalogue rows it looked at, or null when another process is at it. */
export function searchUpkeep(pool: pg.Pool): () => Promise<number | null> {
  let settledAt = -Infinity;
  let settled = false;
  let restUntil = -Infinity;
  return () =>
    onlyOnce(pool, ADVISORY_LOCKS.searchIndex, async () => {
      const importing = await isImporting(pool);
      const begun = performance.now();
      if (importing && begun < restUntil) return 0;
      // An import goes on noting names: a pass that ran until none is left would run as long as the import does.
      const updated = await updateSearchIndex(pool, importing ? 0 : PASS_MS);
      restUntil = performance.now() + REST_BESIDE_IMPORTS * (performance.now() - begun);
      settled &&= updated === 0;
      if (!settled && performance.now() - settledAt > SETTLE_EVERY_MS) {
        await settleTiers(pool);
        settled = true;
        settledAt = performance.now();
      }
      return updated;
    });
}

async function isImporting(pool: pg.Pool): Promise<boolean> {
  const { rows } = await pool.query("select from import_jobs where status = 'running' limit 1");
  return rows.length > 0;
}

/**
 * Everything that is noted, or as much as there is time for, and some at least. Only for whoever holds the lock of the
 * index. Returns how many catalogue rows that were.
 */
export async function updateSearchIndex(pool: pg.Pool, forMs: number = PASS_MS): Promise<number> {
  const until = performance.now() + forMs;
  let updated = 0;
  for (;;) {
    const rows = await updateSome(pool);
    if (rows === null) return updated;
    updated += rows;
    if (performance.now() > until) return updated;
  }
}

/** The oldest notes; how many catalogue rows they named, or null when there were none. */
async function updateSome(pool: pg.Pool): Promise<number | null> {
  return inTransaction(pool, async (client) => {
    const notes = await takeNotes(client);
    if (notes.length === 0) return null;
    const changed: Record<CatalogueEntity, Set<number>> = {
      artist: new Set(),
      album: new Set(),
      track: new Set(),
    };
    for (const { entity, ids } of notes) for (const id of ids) changed[entity].add(id);
    for (const [entity, ids] of Object.entries(changed) as [CatalogueEntity, Set<number>][]) {
      if (ids.size === 0) continue;
      const wanted = [...ids].sort((a, b) => a - b);
      await replaceDocuments(client, entity, wanted, await makeDocuments(client, entity, wanted));
    }
    await noteTitlesOf(
      client,
      notes.filter(({ entity, renamed }) => renamed && entity === "artist").flatMap(({ ids }) => ids),
    );
    return changed.artist.size + changed.album.size + changed.track.size;
  });
}

/** Deletes as many notes as name enough rows, and returns them. */
async function takeNotes(client: pg.ClientBase): Promise<readonly Note[]> {
  const { rows } = await client.query<Note>(
    `delete from search_changes where id in (
       select id from (
         select id, sum(cardinality(ids)) over (order by id) - cardinality(ids) as before
           from (select id, ids from search_changes order by id limit ${NOTES_AT_ONCE}) oldest
       ) counted where before < ${ROWS_AT_ONCE}
     ) returning id, entity, ids, renamed`,
  );
  return rows;
}

/** An artist's name is among the words of all that is the artist's. */
async function noteTitlesOf(client: pg.ClientBase, artistIds: readonly number[]): Promise<void> {
  if (artistIds.length === 0) return;
  for (const [entity, table] of [
    ["album", "albums"],
    ["track", "tracks"],
  ] as const) {
    await client.query(
      `insert into search_changes (entity, ids, renamed)
       select $1, array_agg(id), false
         from (select id, (row_number() over () - 1) / ${ROWS_AT_ONCE} as piece
                 from ${table} where artist_id = any($2::bigint[])) t
        group by piece`,
      [entity, numberArray(artistIds)],
    );
  }
}
