/** Index entries that wait to be merged into their GIN index. */
import type pg from "pg";

/**
 * New entries wait in lists that each search reads through; in bulk they are merged at a third of what it costs to put them
 * into their places one by one. For the owner of the tables.
 */
export async function mergePending(client: Pick<pg.ClientBase, "query">): Promise<void> {
  await client.query(
    `select gin_clean_pending_list(indexrelid) from pg_index i join pg_class c on c.oid = i.indexrelid
      where indrelid in ('search_documents'::regclass, 'search_words'::regclass)
        and c.relam = (select oid from pg_am where amname = 'gin')`,
  );
}
