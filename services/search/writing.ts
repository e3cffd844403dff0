/**
 * Writes documents into the search index, and counts their words. For one writer at a time, in a transaction of its own.
 *
 * Most of what a pass writes is new, or differs in its popularity alone. The first needs no look at what it replaces, the
 * second touches no index as long as the tier stays and the page has room. Words are counted in memory and written once.
 */
import type pg from "pg";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { numberArray, textArray } from "../../db/lists.js";
import { type SearchDocument, wordList } from "./documents.js";
import { nearKeys, repairable } from "./spelling.js";
import { type Border, tierOf } from "./tiers.js";

type Client = Pick<pg.ClientBase, "query">;

/** By how many documents more, or fewer, have a word. */
export type WordChanges = Map<string, number>;

const change = (changes: WordChanges, words: Iterable<string>, by: 1 | -1): void => {
  for (const word of words) changes.set(word, (changes.get(word) ?? 0) + by);
};

interface OldDocument {
  readonly id: number;
  readonly name: string;
  /** Between spaces. */
  readonly words: string;
  readonly popularity: number;
  readonly tier: number;
}

/** Writes documents of one kind in place of what is there under `ids`, and notes in `changes` what becomes of their words. */
export async function replaceDocuments(
  client: Client,
  entity: CatalogueEntity,
  ids: readonly number[],
  documents: readonly SearchDocument[],
  borders: readonly Border[],
  changes: WordChanges,
): Promise<void> {
  const before = await oldDocuments(client, entity, ids);
  const added: SearchDocument[] = [];
  const rewritten: SearchDocument[] = [];
  const moved: SearchDocument[] = [];
  for (const document of documents) {
    const old = before.get(document.id);
    before.delete(document.id);
    if (old === undefined) {
      added.push(document);
      change(changes, document.words, 1);
      continue;
    }
    const oldWords = old.words.split(" ");
    const sameWords =
      oldWords.length === document.words.size && oldWords.every((word) => document.words.has(word));
    if (!sameWords) {
      change(changes, oldWords, -1);
      change(changes, document.words, 1);
    }
    if (!sameWords || old.name !== document.name) rewritten.push(document);
    else if (old.popularity !== document.popularity || old.tier !== tierOf(document, borders))
      moved.push(document);
  }
  for (const { words } of before.values()) change(changes, words.split(" "), -1);
  await deleteDocuments(client, entity, [...before.keys()]);
  await insertDocuments(client, "search_documents", added, borders);
  await rewriteDocuments(client, entity, rewritten, borders);
  await moveDocuments(client, entity, moved, borders);
}

async function oldDocuments(
  client: Client,
  entity: CatalogueEntity,
  ids: readonly number[],
): Promise<Map<number, OldDocument>> {
  const { rows } = await client.query<OldDocument>(
    `select entity_id as id, name, array_to_string(tsvector_to_array(words), ' ') as words, popularity, tier
       from search_documents where entity = $1 and entity_id = any($2::bigint[])`,
    [entity, numberArray(ids)],
  );
  return new Map(rows.map((row) => [row.id, row]));
}

async function deleteDocuments(
  client: Client,
  entity: CatalogueEntity,
  ids: readonly number[],
): Promise<void> {
  if (ids.length === 0) return;
  await client.query("delete from search_documents where entity = $1 and entity_id = any($2::bigint[])", [
    entity,
    numberArray(ids),
  ]);
}

const COLUMNS = "d (id, name, words, popularity, tier)";
const LISTS = `unnest($2::bigint[], $3::text[], $4::text[], $5::integer[], $6::integer[]) as ${COLUMNS}`;
const VECTOR = "array_to_tsvector(string_to_array(d.words, ' '))";

const valuesOf = (documents: readonly SearchDocument[], borders: readonly Border[]): unknown[] => [
  numberArray(documents.map(({ id }) => id)),
  textArray(documents.map(({ name }) => name)),
  textArray(documents.map(wordList)),
  numberArray(documents.map(({ popularity }) => popularity)),
  numberArray(documents.map((document) => tierOf(document, borders))),
];

/** Documents of one kind, none of which is there. */
export async function insertDocuments(
  client: Client,
  table: "search_documents" | "search_documents_new",
  documents: readonly SearchDocument[],
  borders: readonly Border[],
): Promise<void> {
  if (documents.length === 0) return;
  await client.query(
    `insert into ${table} (entity, entity_id, name, words, popularity, tier)
     select $1, d.id, d.name, ${VECTOR}, d.popularity, d.tier from ${LISTS}`,
    [documents[0]!.entity, ...valuesOf(documents, borders)],
  );
}

async function rewriteDocuments(
  client: Client,
  entity: CatalogueEntity,
  documents: readonly SearchDocument[],
  borders: readonly Border[],
): Promise<void> {
  if (documents.length === 0) return;
  await client.query(
    `update search_documents s set name = d.name, words = ${VECTOR}, popularity = d.popularity, tier = d.tier
       from ${LISTS} where s.entity = $1 and s.entity_id = d.id`,
    [entity, ...valuesOf(documents, borders)],
  );
}

async function moveDocuments(
  client: Client,
  entity: CatalogueEntity,
  documents: readonly SearchDocument[],
  borders: readonly Border[],
): Promise<void> {
  if (documents.length === 0) return;
  await client.query(
    `update search_documents s set popularity = d.popularity, tier = d.tier
       from unnest($2::bigint[], $3::integer[], $4::integer[]) as d (id, popularity, tier)
      where s.entity = $1 and s.entity_id = d.id`,
    [
      entity,
      numberArray(documents.map(({ id }) => id)),
      numberArray(documents.map(({ popularity }) => popularity)),
      numberArray(documents.map((document) => tierOf(document, borders))),
    ],
  );
}

/** Only words that a slip may have been made in are kept. What they are near to is worked out for new ones alone. */
export async function countWords(client: Client, changes: WordChanges): Promise<void> {
  const counted = new Map([...changes].filter(([word, by]) => by !== 0 && repairable(word)));
  if (counted.size === 0) return;
  const known = await client.query<{ word: string; documents: number }>(
    `update search_words s set documents = s.documents + c.change
       from unnest($1::text[], $2::integer[]) as c (word, change) where s.word = c.word
     returning s.word, s.documents`,
    [textArray([...counted.keys()]), numberArray([...counted.values()])],
  );
  const unused = known.rows.filter(({ documents }) => documents <= 0).map(({ word }) => word);
  for (const { word } of known.rows) counted.delete(word);
  await insertWords(client, "search_words", [...counted]);
  if (unused.length > 0) {
    await client.query("delete from search_words where word = any($1::text[])", [textArray(unused)]);
  }
}

/** Words, none of which is there, with how many documents have them. */
export async function insertWords(
  client: Client,
  table: "search_words" | "search_words_new",
  words: readonly (readonly [word: string, documents: number])[],
): Promise<void> {
  if (words.length === 0) return;
  await client.query(
    `insert into ${table} (word, documents, near)
     select word, documents, near::integer[] from unnest($1::text[], $2::integer[], $3::text[]) as w (word, documents, near)`,
    [
      textArray(words.map(([word]) => word)),
      numberArray(words.map(([, documents]) => documents)),
      textArray(words.map(([word]) => numberArray(nearKeys(word)))),
    ],
  );
}
