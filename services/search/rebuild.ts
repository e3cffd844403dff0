/**
 * Makes the whole search index anew from the catalogue, beside the one in use, and puts it in its place. Searches go on
 * meanwhile with the old one, which may be in any state; only keeping it up to date waits. A rebuild that was killed
 * leaves tables behind that the next one drops.
 */
import type pg from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import { CATALOGUE_ENTITIES } from "../../db/models/enums.js";
import { inTransaction } from "../../db/transaction.js";
import { nextDocuments } from "./documents.js";
import { repairable } from "./spelling.js";
import { type Border, NONE_YET, TIER_SIZES, writeBorder } from "./tiers.js";
import { insertDocuments, insertWords } from "./writing.js";

const ROWS_AT_ONCE = 5000;
/** For a lock that searches under way hold, half a second each at most. */
const SWAP_WAIT_MS = 10_000;
/** For a pass of upkeep that is under way. */
const TURN_WAIT_MS = 60_000;
const TABLES = ["search_documents", "search_words"] as const;

export interface Rebuilt {
  readonly documents: number;
  readonly words: number;
}

/**
 * Needs two connections of `pool`, whose statements may take minutes.
 * @param progress is told how many documents are made so far
 */
export async function rebuildSearchIndex(
  pool: pg.Pool,
  progress: (documents: number) => void = () => undefined,
): Promise<Rebuilt> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query(`set lock_timeout = ${TURN_WAIT_MS}`);
    await client.query("select pg_advisory_lock($1)", [ADVISORY_LOCKS.searchIndex]);
    const borders = await bordersOf(client);
    const definitions = await makeTables(client);
    const { documents, counts } = await fillDocuments(client, borders, progress);
    const words = await fillWords(client, counts);
    for (const { create } of definitions) await client.query(create);
    await client.query(`analyze ${TABLES.map(newName).join(", ")}`);
    await inTransaction(pool, (swapping) => swap(swapping, definitions, borders));
    return { documents, words };
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    // The lock and the setting end with the connection.
    client.release(failure ?? true);
  }
}

const newName = (table: string): string => `${table}_new`;

/** For each tier its last document, by the popularity that the catalogue has now. */
async function bordersOf(client: pg.ClientBase): Promise<readonly Border[]> {
  const borders: Border[] = [];
  for (const size of TIER_SIZES) {
    const { rows } = await client.query<Border>(
      `select popularity, id from (
         select popularity, id from (
           (select popularity, id from artists order by popularity desc, id limit $1) union all
           (select popularity, id from albums order by popularity desc, id limit $1) union all
           (select popularity, id from tracks order by popularity desc, id limit $1)
         ) c order by popularity desc, id limit $1
       ) best order by popularity, id desc limit 1`,
      [size],
    );
    borders.push(rows[0] ?? NONE_YET);
  }
  return borders;
}

interface IndexDefinition {
  readonly table: string;
  readonly index: string;
  readonly primary: boolean;
  /** Makes it for the new table, under its new name. */
  readonly create: string;
}

/** Empty tables like those in use, without indexes; and what their indexes have to be. */
async function makeTables(client: pg.ClientBase): Promise<readonly IndexDefinition[]> {
  for (const table of TABLES) {
    await client.query(`drop table if exists ${newName(table)}`);
    await client.query(`create table ${newName(table)} (like ${table} including all excluding indexes)`);
    const { rows } = await client.query<{ options: string | null; comment: string | null }>(
      `select array_to_string(reloptions, ', ') as options, obj_description(oid, 'pg_class') as comment
         from pg_class where oid = $1::regclass`,
      [table],
    );
    const { options, comment } = rows[0]!;
    if (options !== null) await client.query(`alter table ${newName(table)} set (${options})`);
    if (comment !== null)
      await client.query(`comment on table ${newName(table)} is ${client.escapeLiteral(comment)}`);
  }
  const { rows } = await client.query<Omit<IndexDefinition, "create"> & { definition: string }>(
    `select t.relname as table, i.relname as index, x.indisprimary as primary, pg_get_indexdef(i.oid) as definition
       from pg_index x join pg_class i on i.oid = x.indexrelid join pg_class t on t.oid = x.indrelid
      where t.oid = any($1::regclass[])`,
    [TABLES],
  );
  return rows.map(({ table, index, primary, definition }) => ({
    table,
    index,
    primary,
    create: definition
      .replace(` INDEX ${index} ON `, ` INDEX ${newName(index)} ON `)
      .replace(new RegExp(` ON (\\w+\\.)?${table} `), ` ON $1${newName(table)} `),
  }));
}

async function fillDocuments(
  client: pg.ClientBase,
  borders: readonly Border[],
  progress: (documents: number) => void,
): Promise<{ documents: number; counts: ReadonlyMap<string, number> }> {
  const counts = new Map<string, number>();
  let documents = 0;
  for (const entity of CATALOGUE_ENTITIES) {
    for (let after = 0; ;) {
      const made = await nextDocuments(client, entity, after, ROWS_AT_ONCE);
      const last = made.at(-1);
      if (last === undefined) break;
      await insertDocuments(client, "search_documents_new", made, borders);
      for (const { words } of made) {
        for (const word of words) if (repairable(word)) counts.set(word, (counts.get(word) ?? 0) + 1);
      }
      documents += made.length;
      progress(documents);
      after = last.id;
    }
  }
  return { documents, counts };
}

async function fillWords(client: pg.ClientBase, counts: ReadonlyMap<string, number>): Promise<number> {
  const all = [...counts];
  for (let from = 0; from < all.length; from += ROWS_AT_ONCE) {
    await insertWords(client, "search_words_new", all.slice(from, from + ROWS_AT_ONCE));
  }
  return all.length;
}

/** The new tables under the old names, and their indexes. */
async function swap(
  client: pg.ClientBase,
  definitions: readonly IndexDefinition[],
  borders: readonly Border[],
): Promise<void> {
  await client.query(`set local lock_timeout = ${SWAP_WAIT_MS}`);
  await client.query(`drop table ${TABLES.join(", ")}`);
  for (const table of TABLES) await client.query(`alter table ${newName(table)} rename to ${table}`);
  for (const { table, index, primary } of definitions) {
    await client.query(
      primary
        ? `alter table ${table} add constraint ${index} primary key using index ${newName(index)}`
        : `alter index ${newName(index)} rename to ${index}`,
    );
  }
  for (const [tier, border] of borders.entries()) await writeBorder(client, tier, border);
}
