/** The search index as rows: what is made of the catalogue. How it is written is in writing.ts. */
import type pg from "pg";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { numberArray } from "../../db/lists.js";
import { entityWord } from "../../db/queries/search.js";
import { UNKNOWN_ARTIST_KEY } from "../catalog/findOrCreate.js";
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

/** Words go between spaces: none has one in it. */
export const wordList = ({ words }: SearchDocument): string => [...words].join(" ");
