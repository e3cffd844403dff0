/**
 * Reading the search index. Every statement goes unnamed, so that it is planned for the words it is asked with: planned
 * once for all words, it would be planned for none.
 */
import type pg from "pg";
import type { CatalogueEntity } from "../models/enums.js";

type Client = Pick<pg.ClientBase, "query">;

/** Place in the order in which candidates are read: most popular first, the older before the newer. */
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
  /** The query as a name, for documents that are called so. */
  readonly name: string;
  readonly entities: readonly CatalogueEntity[];
  readonly limit: number;
  readonly namesakes: number;
  /** The last one seen, to go on from. */
  readonly after?: CandidatePosition;
}

/**
 * What every document of one kind has among its words, so that one index finds a word in one kind. Nobody can type it.
 * Tracks have none: most documents are tracks, so it would be longer to read than what it leaves out.
 */
const ENTITY_WORDS: Readonly<Record<CatalogueEntity, string | null>> = {
  artist: "\u001fr",
  album: "\u001fb",
  track: null,
};
export const entityWord = (entity: CatalogueEntity): string | null => ENTITY_WORDS[entity];

const TIERS = ["tier = 0", "tier <= 1", "true"] as const;
const COLUMNS = "entity, entity_id as id, name, popularity";
const ORDER = "popularity desc, id, entity";

export interface Candidates {
  /** Documents of exactly this name, of the most popular tiers: there may be thousands called Intro. */
  readonly namesakes: readonly Candidate[];
  /** The most popular documents that fit, in order; namesakes may be among them. */
  readonly fitting: readonly Candidate[];
}

/**
 * Documents that fit are looked for among the most popular alone first, then among more, until there are enough: a word
 * that is in every third name is common there, too, and a rare one costs little anywhere. So no word makes the database
 * read more than some thousand rows. Steps that are not needed are not executed.
 */
export async function readCandidates(client: Client, request: CandidateRequest): Promise<Candidates> {
  const { expression, typed, name, entities, limit, namesakes, after } = request;
  const values: unknown[] = [withEntities(expression, entities), typed, entities, name];
  if (after !== undefined) values.push(after.popularity, after.id, after.entity);
  const rest =
    after === undefined ? "" : "and (-popularity, entity_id, entity) > (-$5::integer, $6::bigint, $7)";
  const enough = (step: number): string => `(select count(*) from step${step}) >= ${limit}`;
  const steps = TIERS.map((tier, step) => {
    const before = TIERS.slice(0, step).map((_, earlier) => `not ${enough(earlier)} and`);
    return `step${step} as materialized (
      select ${COLUMNS}, words @@ $2::tsquery as "asTyped" from search_documents
       where ${before.join(" ")} ${tier} and words @@ $1::tsquery and entity = any($3::text[]) ${rest}
       order by ${ORDER} limit ${limit})`;
  });
  const { rows } = await client.query<Candidate & { namesake: boolean }>(
    `with ${steps.join(", ")}
     (select ${COLUMNS}, true as "asTyped", true as namesake from search_documents
       where hashtextextended(name, 0) = hashtextextended($4, 0) and name = $4 and entity = any($3::text[])
       order by hashtextextended(name, 0), tier limit ${namesakes})
     union all select *, false from step0 where ${enough(0)}
     union all select *, false from step1 where ${enough(1)}
     union all select *, false from step2
     order by namesake desc, ${ORDER}`,
    values,
  );
  const split = rows.findIndex(({ namesake }) => !namesake);
  return split === -1
    ? { namesakes: rows, fitting: [] }
    : { namesakes: rows.slice(0, split), fitting: rows.slice(split) };
}

function withEntities(expression: string, entities: readonly CatalogueEntity[]): string {
  const words = entities.map(entityWord).filter((word) => word !== null);
  if (words.length < entities.length) return expression;
  return `(${expression}) & (${words.map((word) => `'${word}'`).join(" | ")})`;
}

export interface KnownWord {
  readonly word: string;
  /** How many documents have it. */
  readonly documents: number;
}

/** More are never weighed; the rarest are left out. */
const KNOWN_WORDS_MAX = 2000;

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
