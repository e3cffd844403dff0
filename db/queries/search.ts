/**
 * Reading the search index. Every statement goes unnamed, so that it is planned for the words it is asked with: planned
 * once for all words, it would be planned for none.
 */
import type pg from "pg";
import type { CatalogueEntity } from "../models/enums.js";

type Client = Pick<pg.ClientBase, "query">;

/** Place in the order in which candidates are read: most popular first. */
export interface CandidatePosition {
  readonly popularity: number;
  readonly id: number;
  readonly entity: CatalogueEntity;
}

export interface Candidate extends CandidatePosition {
  /** As services/search/words.ts reads it. */
  readonly name: string;
  /** Whether it has all words as they were typed. */
  readonly asTyped: boolean;
}

export interface CandidateRequest {
  /** Texts of tsqueries: what has to fit, and what fits as it was typed. */
  readonly expression: string;
  readonly typed: string;
  readonly entities: readonly CatalogueEntity[];
  readonly limit: number;
  /** The last one seen, to go on from. */
  readonly after?: CandidatePosition;
}

/** What every document of one kind has among its words, so that one index finds a word in one kind. Nobody can type it. */
const ENTITY_WORDS: Readonly<Record<CatalogueEntity, string>> = {
  artist: "\u001fr",
  album: "\u001fb",
  track: "\u001ft",
};
export const entityWord = (entity: CatalogueEntity): string => ENTITY_WORDS[entity];
const ALL_ENTITIES = Object.keys(ENTITY_WORDS).length;

const TIERS = ["tier = 0", "tier <= 1", "true"] as const;

/**
 * The most popular documents that fit, in order. Looked for among the most popular alone first, then among more, until
 * there are enough: a word that is in every third name is common there, too, and a rare one costs little anywhere. So no
 * word makes the database read more than some thousand rows.
 */
export async function readCandidates(client: Client, request: CandidateRequest): Promise<Candidate[]> {
  const { expression, typed, entities, limit, after } = request;
  const values: unknown[] = [withEntities(expression, entities), typed, entities, limit];
  if (after !== undefined) values.push(after.popularity, after.id, after.entity);
  const rest =
    after === undefined ? "" : "and (popularity, entity_id, entity) < ($5::integer, $6::bigint, $7)";
  let found: Candidate[] = [];
  for (const tier of TIERS) {
    const { rows } = await client.query<Candidate>(
      `select entity, entity_id as id, name, popularity, words @@ $2::tsquery as "asTyped"
         from search_documents
        where ${tier} and words @@ $1::tsquery and entity = any($3::text[]) ${rest}
        order by popularity desc, entity_id desc, entity desc
        limit $4`,
      values,
    );
    found = rows;
    if (found.length >= limit) break;
  }
  return found;
}

const withEntities = (expression: string, entities: readonly CatalogueEntity[]): string =>
  entities.length === ALL_ENTITIES
    ? expression
    : `(${expression}) & (${entities.map((entity) => `'${entityWord(entity)}'`).join(" | ")})`;

/** Documents of exactly this name, the most popular first. */
export async function readNamesakes(
  client: Client,
  name: string,
  entities: readonly CatalogueEntity[],
  limit: number,
): Promise<Candidate[]> {
  const { rows } = await client.query<Candidate>(
    `select entity, entity_id as id, name, popularity, true as "asTyped"
       from search_documents
      where hashtextextended(name, 0) = hashtextextended($1, 0) and name = $1 and entity = any($2::text[])
      order by popularity desc, entity_id desc, entity desc
      limit $3`,
    [name, entities, limit],
  );
  return rows;
}

export interface KnownWord {
  readonly word: string;
  /** How many documents have it. */
  readonly documents: number;
}

/** More are never weighed; the rarest are left out. */
const KNOWN_WORDS_MAX = 4000;

/** Words that share one of the hashes (see services/search/spelling.ts), and those of `exact` that are known. */
export async function readKnownWords(
  client: Client,
  keys: readonly number[],
  exact: readonly string[],
): Promise<KnownWord[]> {
  const { rows } = await client.query<KnownWord>(
    `select word, documents from (
       select word, documents from search_words where near && $1::integer[]
       union
       select word, documents from search_words where word = any($2::text[])
     ) w order by documents desc limit ${KNOWN_WORDS_MAX}`,
    [keys, exact],
  );
  return rows;
}
