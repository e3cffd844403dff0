/**
 * Deletes all that belongs to an account which is switched off: batch by batch, so that nobody else waits for it, and in an
 * order that may be broken off anywhere and begun again. The row of `users` goes last, for it says what is to be done. What
 * is shared (the catalogue) stays. See docs/adr/0013.
 */
import type { Pool, PoolClient } from "pg";
import { escapeIdentifier } from "pg";
import { announceChange, historyOf } from "../../db/queries/cacheVersions.js";
import { inTransaction } from "../../db/transaction.js";
import { AppError } from "../../utils/errors.js";
import type { Logger } from "../../utils/logger.js";
import { cancelJob } from "../import/control.js";
import type { ImportQueue, WorkRef } from "../import/ImportQueue.js";
import { QueueRejectedError } from "../import/ImportQueue.js";
import { isOpen, OPEN_STATUSES } from "../import/jobs.js";
import type { ImportStatus } from "../import/jobs.js";
import type { StepContext } from "../import/stepContext.js";
import { lockPlaysAlone } from "../import/undo.js";
import type { BlobStore } from "../storage/BlobStore.js";

export interface EraserDependencies {
  readonly pool: Pool;
  readonly queue: Pick<ImportQueue, "requestCancel" | "inspect" | "forget">;
  readonly blobs: Pick<BlobStore, "delete">;
  /** Deletes what Redis keeps under keys that name any of these ids; false when Redis does not answer. */
  readonly forgetCached: (ids: readonly string[]) => Promise<boolean>;
  /** Ends the connections to accounts at providers; calls `before` before each, and throws what it throws. */
  readonly forgetConnections: (userId: string, before: () => void) => Promise<void>;
  readonly log: Logger;
  /** For tests. */
  readonly batchRows?: number;
}

export interface Erased {
  readonly plays: number;
  readonly imports: number;
  /** False when an import, or a play, has come in the meantime: stop the imports, and erase again. */
  readonly finished: boolean;
}

type Work = Pick<StepContext, "signal" | "heartbeat">;

/** A few hundred milliseconds of work, during which an import of the same user waits. */
const BATCH_ROWS = 5000;
/** Their rows need more than to be deleted: a lock, and an upload that goes first. */
const DELETED_WITH_CARE = ["listening_history", "import_jobs"] as const;
/** Tables whose rows belong to an import. Its parts, few and without texts, go with it. */
const TABLES_OF_IMPORT = ["import_rows", "import_dry_keys", "import_batches"] as const;
/** A run may go on a little after its import was closed over its head, and still read the upload. */
const RUN_GRACE_SECONDS = 60;

export class AccountEraser {
  readonly #batchRows: number;

  constructor(private readonly deps: EraserDependencies) {
    this.#batchRows = deps.batchRows ?? BATCH_ROWS;
  }

  /**
   * Asks every open import to stop and says how many are not at rest: those whose row is open, and for a minute those whose
   * run is. Call it until there are none.
   */
  async stopImports(userId: string): Promise<{ readonly underWay: number }> {
    const found = await this.deps.pool.query<{ id: string; attempt: number; status: ImportStatus }>(
      `select id, attempt, status from import_jobs
        where user_id = $1
          and (status = any($2::import_status[]) or finished_at > now() - make_interval(secs => $3))`,
      [userId, OPEN_STATUSES, RUN_GRACE_SECONDS],
    );
    let underWay = 0;
    for (const { id, attempt, status } of found.rows) {
      const run = { kind: "import", importId: id, attempt } as const;
      const closed = !isOpen(status) || (await this.#cancel(userId, id));
      if (!closed) await this.deps.queue.requestCancel(run);
      if (!closed || (await this.deps.queue.inspect(run)) === "open") underWay += 1;
    }
    return { underWay };
  }

  /** Does nothing for an account that nobody asked to erase. Throws the signal's reason between two batches. */
  async erase(userId: string, work: Work): Promise<Erased> {
    if (!(await this.#isWanted(userId))) return { plays: 0, imports: 0, finished: true };
    await this.#forgetCached(userId);
    await this.deps.forgetConnections(userId, () => {
      work.signal.throwIfAborted();
      work.heartbeat({ plays: 0 });
    });
    const plays = await this.#deletePlays(userId, work);
    const imports = await this.#deleteImports(userId, work);
    for (const table of await this.#otherTables()) await this.#deleteRows(table, "user_id", userId, work);
    return { plays, imports, finished: await this.#deleteAccount(userId) };
  }

  /** True when the import is closed now. */
  async #cancel(userId: string, importId: string): Promise<boolean> {
    try {
      return (await cancelJob(this.deps.pool, userId, importId, 0)).effect === "closed";
    } catch (error) {
      if (error instanceof AppError) return true; // closed, or gone, meanwhile
      throw error;
    }
  }

  async #isWanted(userId: string): Promise<boolean> {
    const found = await this.deps.pool.query(
      "select from users where id = $1 and erase_requested_at is not null",
      [userId],
    );
    return found.rows.length > 0;
  }

  /** First of all, while it can still be told which sessions and tokens there were; nothing is kept for them any more. */
  async #forgetCached(userId: string): Promise<void> {
    const found = await this.deps.pool.query<{ id: string }>(
      "select id from sessions where user_id = $1 union all select id from api_tokens where user_id = $1",
      [userId],
    );
    if (await this.deps.forgetCached([userId, ...found.rows.map(({ id }) => id)])) return;
    this.deps.log.warn("redis does not answer; what it keeps of an erased account expires by itself", {
      userId,
    });
  }

  async #deletePlays(userId: string, { signal, heartbeat }: Work): Promise<number> {
    let plays = 0;
    for (;;) {
      signal.throwIfAborted();
      heartbeat({ plays });
      const deleted = await inTransaction(this.deps.pool, async (client) => {
        await lockPlaysAlone(client, userId);
        const { rowCount } = await client.query(
          `delete from listening_history where ctid = any (array(
             select ctid from listening_history where user_id = $1 order by played_at desc, id desc limit $2))`,
          [userId, this.#batchRows],
        );
        if (rowCount !== 0) await announceChange(client, historyOf(userId));
        return rowCount ?? 0;
      });
      if (deleted === 0) return plays;
      plays += deleted;
    }
  }

  /** Each import with its upload, its ledger and what the queue remembers of its runs; the row last. */
  async #deleteImports(userId: string, work: Work): Promise<number> {
    let imports = 0;
    for (;;) {
      work.signal.throwIfAborted();
      const found = await this.deps.pool.query<{ id: string; attempt: number; blob_key: string | null }>(
        "select id, attempt, blob_key from import_jobs where user_id = $1 order by created_at limit 1",
        [userId],
      );
      const job = found.rows[0];
      if (job === undefined) return imports;
      if (job.blob_key !== null) await this.deps.blobs.delete(job.blob_key);
      for (const table of TABLES_OF_IMPORT) await this.#deleteRows(table, "job_id", job.id, work);
      await this.#forgetRuns(job.id, job.attempt);
      await this.deps.pool.query("delete from import_jobs where id = $1", [job.id]);
      imports += 1;
    }
  }

  async #forgetRuns(importId: string, attempts: number): Promise<void> {
    const runs: WorkRef[] = [{ kind: "undo", importId }];
    for (let attempt = 1; attempt <= attempts; attempt += 1) runs.push({ kind: "import", importId, attempt });
    try {
      for (const run of runs) await this.deps.queue.forget(run);
    } catch (error) {
      if (!(error instanceof QueueRejectedError)) throw error;
      // Not every server lets its histories be deleted. They hold ids and counts, and expire.
      this.deps.log.warn("the queue keeps the runs of a deleted import", { importId, error });
    }
  }

  /** The other tables. Read from the database, so that one which somebody adds is not forgotten. */
  async #otherTables(): Promise<string[]> {
    const found = await this.deps.pool.query<{ name: string }>(
      `select table_name::text as name
         from information_schema.columns join information_schema.tables using (table_schema, table_name)
        where table_schema = 'public' and table_type = 'BASE TABLE' and column_name = 'user_id'
          and table_name <> all ($1::text[])
        order by 1`,
      [DELETED_WITH_CARE],
    );
    return found.rows.map(({ name }) => name);
  }

  async #deleteRows(
    table: string,
    column: "user_id" | "job_id",
    id: string,
    { signal }: Work,
  ): Promise<void> {
    const name = escapeIdentifier(table);
    for (let deleted = this.#batchRows; deleted === this.#batchRows;) {
      signal.throwIfAborted();
      const { rowCount } = await this.deps.pool.query(
        `delete from ${name} where ctid = any (array(select ctid from ${name} where ${column} = $1 limit $2))`,
        [id, this.#batchRows],
      );
      deleted = rowCount ?? 0;
    }
  }

  /**
   * The row and the little that may have been added since. Holding it keeps everything away that refers to it; whoever
   * works under the user's lock without doing so comes before or finds nothing. False when there is more to delete.
   */
  async #deleteAccount(userId: string): Promise<boolean> {
    const tables = await this.#otherTables();
    return inTransaction(this.deps.pool, async (client) => {
      await lockPlaysAlone(client, userId);
      await client.query("select from users where id = $1 for update", [userId]);
      if (await hasWork(client, userId)) return false;
      for (const table of tables)
        await client.query(`delete from ${escapeIdentifier(table)} where user_id = $1`, [userId]);
      await client.query("delete from users where id = $1", [userId]);
      return true;
    });
  }
}

async function hasWork(client: PoolClient, userId: string): Promise<boolean> {
  const found = await client.query<{ more: boolean }>(
    `select exists (select from import_jobs where user_id = $1)
         or exists (select from listening_history where user_id = $1) as more`,
    [userId],
  );
  return found.rows[0]?.more === true;
}
