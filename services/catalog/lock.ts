/**
 * One lock for the identity of everything in the catalogue. Who looks names up and creates what is missing takes it
 * shared, and so does a batch that files plays; who renames or merges takes it alone. Between looking a name up
 * and using what was found, nothing is renamed or merged, and the two never wait for each other's rows.
 *
 * It comes after the locks on users' plays, for whoever takes both.
 */
import type { ClientBase } from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";

type Client = Pick<ClientBase, "query">;

/** SQL that takes it shared until the end of the transaction; for statements that take another lock as well. */
export const SHARE_CATALOGUE = `pg_advisory_xact_lock_shared(${ADVISORY_LOCKS.catalogue})`;

export async function shareCatalogue(client: Client): Promise<void> {
  await client.query(`select ${SHARE_CATALOGUE}`);
}

/** Waits for the batches and look-ups under way, and holds up new ones until the transaction ends. */
export async function lockCatalogueAlone(client: Client): Promise<void> {
  await client.query(`select pg_advisory_xact_lock(${ADVISORY_LOCKS.catalogue})`);
}
