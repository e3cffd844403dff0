/** The search index as rows: what is made of the catalogue, and how it is written. */
import type pg from "pg";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { numberArray, textArray } from "../../db/lists.js";
import { entityWord } from "../../db/queries/search.js";
import { UNKNOWN_ARTIST_KEY } from "../catalog/findOrCreate.js";
import { nearKeys, repairable } from "./spelling.js";
import { plainName, wordsOf } from "./words.js";

type Client = Pick<pg.ClientBase, "query">;

export interface SearchDocument {
  readonly entity: CatalogueEntity;
  readonly id: number;
  readonly name: string;
  readonly words: ReadonlySet<string>;
  readonly popularity: number;
}

interface SourceRow {
  readonly id: number;
  readonly name: string;
  readonly artist: string | null;
  readonly popularity: number;
  readonly aliases: readonly string[];
}

/** What plays without an artist are filed under is nobody's name. */
const artistName = (artist: string): string =>
  `case when ${artist}.name_key = '${UNKNOWN_ARTIST_KEY}' then null else ${artist}.name end`;
const artistAliases = (id: string): string =>
  `array(select name_key::text from artist_aliases where artist_id = ${id})`;

const SOURCES: Readonly<Record<CatalogueEntity, string>> = {
  artist: `
    select a.id, a.name, null as artist, a.popularity, ${artistAliases("a.id")} as aliases
      from artists a where a.name_key <> '${UNKNOWN_ARTIST_KEY}'`,
  album: `
    select b.id, b.title as name, ${artistName("a")} as artist, b.popularity,
           array(select title_key::text from album_aliases where album_id = b.id) || ${artistAliases("b.artist_id")} as aliases
      from albums b join artists a on a.id = b.artist_id where true`,
  track: `
    select t.id, t.title as name, ${artistName("a")} as artist, t.popularity,
           array(select title_key::text from track_aliases where track_id = t.id) || ${artistAliases("t.artist_id")} as aliases
      from tracks t join artists a on a.id = t.artist_id where true`,
};
const ALIAS: Readonly<Record<CatalogueEntity, string>> = { artist: "a", album: "b", track: "t" };

const documentOf = (entity: CatalogueEntity, row: SourceRow): SearchDocument => ({
  entity,
  id: row.id,
  name: plainName(row.name),
  words: new Set([
    ...[entityWord(entity)].filter((word) => word !== null),
    ...wordsOf([row.name, ...(row.artist === null ? [] : [row.artist]), ...row.aliases]),
  ]),
  popularity: row.popularity,
});

/** As the catalogue has them now; without those that are gone. */
export async function makeDocuments(
  client: Client,
  entity: CatalogueEntity,
  ids: readonly number[],
): Promise<SearchDocument[]> {
  const { rows } = await client.query<SourceRow>(
    `${SOURCES[entity]} and ${ALIAS[entity]}.id = any($1::bigint[])`,
    [numberArray(ids)],
  );
  return rows.map((row) => documentOf(entity, row));
}

/** The next `limit` by id after `afterId`, for a walk through the whole catalogue. */
export async function nextDocuments(
  client: Client,
  entity: CatalogueEntity,
  afterId: number,
  limit: number,
): Promise<SearchDocument[]> {
  const id = `${ALIAS[entity]}.id`;
  const { rows } = await client.query<SourceRow>(
    `${SOURCES[entity]} and ${id} > $1 order by ${id} limit ${limit}`,
    [afterId],
  );
  return rows.map((row) => documentOf(entity, row));
}

/** Which tier a document `d` belongs to, as SQL. */
export const TIER_OF = `case
  when (d.popularity, d.id) >= (select min_popularity, min_id from search_tiers where tier = 0) then 0
  when (d.popularity, d.id) >= (select min_popularity, min_id from search_tiers where tier = 1) then 1
  else 2 end`;

/** Words go between spaces: none has one in it. */
export const wordList = ({ words }: SearchDocument): string => [...words].join(" ");

/** Of search_words: how many documents more, or fewer, have each word. */
type WordCounts = ReadonlyMap<string, number>;

/** Writes documents of one kind in place of what is there under `ids`, and counts their words anew. */
export async function replaceDocuments(
  client: Client,
  entity: CatalogueEntity,
  ids: readonly number[],
  documents: readonly SearchDocument[],
): Promise<void> {
  const lists = [
    numberArray(documents.map(({ id }) => id)),
    textArray(documents.map(({ name }) => name)),
    textArray(documents.map(wordList)),
    numberArray(documents.map(({ popularity }) => popularity)),
  ];
  const counts = await client.query<{ word: string; change: number }>(
    `select word, sum(change)::integer as change from (
       select word, -1 as change
         from search_documents, unnest(tsvector_to_array(words)) as word
        where entity = $1 and entity_id = any($2::bigint[])
       union all
       select word, 1 from unnest($3::text[]) as d (words), unnest(string_to_array(d.words, ' ')) as word
     ) c group by word having sum(change) <> 0`,
    [entity, numberArray(ids), lists[2]],
  );
  const present = new Set(documents.map(({ id }) => id));
  const gone = ids.filter((id) => !present.has(id));
  if (gone.length > 0) {
    await client.query("delete from search_documents where entity = $1 and entity_id = any($2::bigint[])", [
      entity,
      numberArray(gone),
    ]);
  }
  if (documents.length > 0) {
    await client.query(
      `insert into search_documents as old (entity, entity_id, name, words, popularity, tier)
       select $1, d.id, d.name, array_to_tsvector(string_to_array(d.words, ' ')), d.popularity, ${TIER_OF}
         from unnest($2::bigint[], $3::text[], $4::text[], $5::integer[]) as d (id, name, words, popularity)
       on conflict (entity_id, entity) do update
         set name = excluded.name, words = excluded.words, popularity = excluded.popularity, tier = excluded.tier
         where (old.name, old.words, old.popularity, old.tier)
           is distinct from (excluded.name, excluded.words, excluded.popularity, excluded.tier)`,
      [entity, ...lists],
    );
  }
  await addToWords(client, new Map(counts.rows.map(({ word, change }) => [word, change])));
}

/** Only words that a slip may have been made in are kept. */
async function addToWords(client: Client, changes: WordCounts): Promise<void> {
  const counted = [...changes].filter(([word]) => repairable(word));
  if (counted.length === 0) return;
  const words = counted.map(([word]) => word);
  await client.query(
    `insert into search_words as old (word, documents, near)
     select w.word, w.change, w.near::integer[] from unnest($1::text[], $2::integer[], $3::text[]) as w (word, change, near)
     on conflict (word) do update set documents = old.documents + excluded.documents`,
    [
      textArray(words),
      numberArray(counted.map(([, change]) => change)),
      textArray(words.map((word) => numberArray(nearKeys(word)))),
    ],
  );
  await client.query("delete from search_words where documents <= 0 and word = any($1::text[])", [
    textArray(words),
  ]);
}
