import type { Knex } from "knex";

/** Histories are filtered by title alone, and former titles count. Only editors write here, so that imports pay nothing. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw("create index track_aliases_title on track_aliases (title_key)");
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("drop index track_aliases_title");
}
