/**
 * Keeps the search index up to date: takes what triggers noted of changed catalogue rows and makes their documents anew.
 * One process at a time, so nothing else writes the index; and nothing that others wait for is locked.
 */
import type pg from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { numberArray } from "../../db/lists.js";
import { inTransaction } from "../../db/transaction.js";
import type { Pace } from "../import/pace.js";
import { onlyOnce } from "../upkeep.js";
import { makeDocuments } from "./documents.js";
import { mergePending } from "./pending.js";
import { readBorders, settleTiers } from "./tiers.js";
import { countWords, replaceDocuments, type WordChanges } from "./writing.js";

/** Rows of the catalogue in one transaction: about a second's work. Words that many of them have are counted once. */
const ROWS_AT_ONCE = 20_000;
/** Rows whose documents are in memory at a time. */
const PIECE = 2000;
/** Rows of one note that this process writes. */
const NOTED_AT_ONCE = 5000;
/** Notes that are looked at together; an import writes up to three a batch. */
const NOTES_AT_ONCE = 200;
/** A pass ends after this, so that a worker that stops is not waited for. */
const PASS_MS = 20_000;
/**
 * While an import is running: from the beginning of one pass to that of the next, and how long a pass may go on. Names are
 * the cheaper the more of them are written together, and are to be found within ten seconds all the same.
 */
const BESIDE_IMPORTS = { everyMs: 7000, forMs: 2000 } as const;
/** Looking whether tiers have the right size reads the whole index. While an import is running, that can wait. */
const SETTLE_EVERY_MS = 30_000;
const SETTLE_BESIDE_IMPORTS_MS = 10 * 60_000;

interface Note {
  readonly id: number;
  readonly entity: CatalogueEntity;
  readonly ids: readonly number[];
  readonly renamed: boolean;
}

/** A pass of upkeep; see UpkeepTask. Returns how many catalogue rows it looked at, or null when another process is at it. */
export function searchUpkeep(pool: pg.Pool, pace?: Pace): () => Promise<number | null> {
  let settledAt = performance.now() - SETTLE_EVERY_MS;
  let settled = false;
  let restUntil = -Infinity;
  return () =>
    onlyOnce(pool, ADVISORY_LOCKS.searchIndex, async () => {
      const importing = await isImporting(pool);
      const begun = performance.now();
      if (importing && begun < restUntil) return 0;
      const updated = await updateSearchIndex(pool, importing ? BESIDE_IMPORTS.forMs : PASS_MS, pace);
      restUntil = begun + Math.max(BESIDE_IMPORTS.everyMs, 2 * (performance.now() - begun));
      settled &&= updated === 0;
      const sinceSettled = performance.now() - settledAt;
      if (!settled && sinceSettled > (importing ? SETTLE_BESIDE_IMPORTS_MS : SETTLE_EVERY_MS)) {
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
export async function updateSearchIndex(
  pool: pg.Pool,
  forMs: number = PASS_MS,
  pace?: Pace,
): Promise<number> {
  const until = performance.now() + forMs;
  let updated = 0;
  for (;;) {
    const endTurn = await pace?.turn();
    const rows = await updateSome(pool).finally(() => endTurn?.());
    if (rows === null) return updated;
    updated += rows;
    if (performance.now() > until) return updated;
  }
}

/** The oldest notes; how many catalogue rows they named, or null when there were none. */
async function updateSome(pool: pg.Pool): Promise<number | null> {
  const updated = await inTransaction(pool, async (client) => {
    const notes = await takeNotes(client);
    if (notes.length === 0) return null;
    const changed: Record<CatalogueEntity, Set<number>> = {
      artist: new Set(),
      album: new Set(),
      track: new Set(),
    };
    for (const { entity, ids } of notes) for (const id of ids) changed[entity].add(id);
    await rewrite(client, changed);
    await noteTitlesOf(
      client,
      notes.filter(({ entity, renamed }) => renamed && entity === "artist").flatMap(({ ids }) => ids),
    );
    return changed.artist.size + changed.album.size + changed.track.size;
  });
  // By itself: a role that may not do it (it takes the owner) leaves it to autovacuum, and the index is right all the same.
  if (updated !== null) await mergePending(pool);
  return updated;
}

async function rewrite(
  client: pg.ClientBase,
  changed: Readonly<Record<CatalogueEntity, ReadonlySet<number>>>,
): Promise<void> {
  const borders = await readBorders(client);
  const words: WordChanges = new Map();
  for (const [entity, ids] of Object.entries(changed) as [CatalogueEntity, ReadonlySet<number>][]) {
    const sorted = [...ids].sort((a, b) => a - b);
    for (let from = 0; from < sorted.length; from += PIECE) {
      const piece = sorted.slice(from, from + PIECE);
      const documents = await makeDocuments(client, entity, piece);
      await replaceDocuments(client, entity, piece, documents, borders, words);
    }
  }
  await countWords(client, words);
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
         from (select id, (row_number() over () - 1) / ${NOTED_AT_ONCE} as piece
                 from ${table} where artist_id = any($2::bigint[])) t
        group by piece`,
      [entity, numberArray(artistIds)],
    );
  }
}
