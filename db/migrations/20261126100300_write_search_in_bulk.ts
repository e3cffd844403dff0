import type { Knex } from "knex";

/**
 * The search index is written by passes of thousands of documents: new index entries are gathered in the pending list and
 * merged at the end of a pass, a word whose count moves finds room beside itself, and a document that nobody has played
 * yet goes into the last tier, whatever its id. See docs/adr/0016.
 */
const GIN_INDEXES = [
  "search_documents_words",
  "search_documents_popular_words",
  "search_documents_top_words",
  "search_words_near",
] as const;

const BORDER =
  "A document is of the first tier whose (popularity descending, id ascending) border it does not come after";
const BORDER_BEFORE =
  "A document is of the first tier whose (min_popularity, min_id) its popularity and entity_id reach";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ${GIN_INDEXES.map((index) => `alter index ${index} set (fastupdate = on, gin_pending_list_limit = 8192);`).join("\n")}
    alter table search_words set (fillfactor = 50);
    alter table search_tiers rename column min_id to max_id;
    comment on table search_tiers is '${BORDER}';
    -- Documents of the same popularity have changed their order: the next pass of upkeep sorts them into tiers anew.
    update search_tiers set min_popularity = 2147483647, max_id = 0;
    update search_documents set tier = 2 where tier < 2;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    update search_documents set tier = 0 where tier > 0;
    update search_tiers set min_popularity = 0, max_id = 0;
    comment on table search_tiers is '${BORDER_BEFORE}';
    alter table search_tiers rename column max_id to min_id;
    alter table search_words reset (fillfactor);
    ${GIN_INDEXES.map(
      (index) => `alter index ${index} reset (gin_pending_list_limit);
    alter index ${index} set (fastupdate = off);`,
    ).join("\n")}
  `);
}
