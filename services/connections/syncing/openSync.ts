/** Opens a sync of a connection: a job as that of an upload, which the same work then carries out. */
import { createHash } from "node:crypto";
import type { Pool, PoolClient } from "pg";
import { OPEN_IMPORT_STATUSES } from "../../../db/models/enums.js";
import type { ConnectionProvider, ConnectionStatus } from "../../../db/models/enums.js";
import { inTransaction } from "../../../db/transaction.js";
import type { Logger } from "../../../utils/logger.js";
import { uuidv7 } from "../../../utils/uuid.js";
import { importWorkflowId } from "../../../workflows/contracts.js";
import type { OpenedSync } from "../../../workflows/contracts.js";
import { START_GRACE_SECONDS } from "../../import/control.js";
import type { ImportQueue } from "../../import/ImportQueue.js";
import { findJob } from "../../import/jobs.js";
import type { ImportOptions, JobRow } from "../../import/jobs.js";
import { enqueueJob } from "../../import/starting.js";

export interface OpenSyncDependencies {
  readonly pool: Pool;
  readonly queue: ImportQueue;
  readonly log: Logger;
  /** Records per batch of the file of a provider that gives one. */
  readonly batchRows: number;
  /** Whether this installation is set up for a provider; absent: it is for all. */
  readonly isSetUp?: (provider: ConnectionProvider) => boolean;
}

export interface OpenSyncRequest {
  /** A pause holds up schedules only. */
  readonly trigger: "schedule" | "user";
  readonly options?: Partial<Omit<ImportOptions, "source">> & { readonly dryRun?: boolean };
  /** Another user's connection is as one that never existed. */
  readonly requireUserId?: string;
}

/** `missing`: there is no such connection. `account_off`: its owner's account is switched off. */
export type SyncRefusal = "missing" | "account_off" | "paused" | "needs_reauth" | "unavailable";

/** `opened`: a new job. `open`: the one that is under way. */
export type OpenSyncOutcome =
  { readonly opened: JobRow } | { readonly open: JobRow } | { readonly refused: SyncRefusal };

interface ConnectionRow {
  readonly id: string;
  readonly user_id: string;
  readonly provider: ConnectionProvider;
  readonly status: ConnectionStatus;
  readonly paused: boolean;
  readonly account_off: boolean;
}

/** Durable once it resolves, whatever the queue says: the row is the outbox. Asked for twice at once it is one sync. */
export async function openSync(
  deps: OpenSyncDependencies,
  connectionId: string,
  request: OpenSyncRequest,
): Promise<OpenSyncOutcome> {
  const outcome = await inTransaction(deps.pool, async (client): Promise<OpenSyncOutcome> => {
    const connection = await lockConnection(client, connectionId);
    const refused = refusalOf(connection, request, deps.isSetUp);
    if (refused !== null) return { refused };
    const open = await openJob(client, connectionId);
    if (open !== undefined) return { open };
    return { opened: await insertJob(client, connection!, request, deps.batchRows) };
  });
  if ("opened" in outcome) {
    const { id: importId, workflow_id: workflowId } = outcome.opened;
    deps.log.info("sync opened", { importId, workflowId, connectionId, trigger: request.trigger });
    await enqueueJob(deps, outcome.opened);
  }
  return outcome;
}

/** For a schedule that is due, as the queue hears it. */
export async function openDueSync(deps: OpenSyncDependencies, connectionId: string): Promise<OpenedSync> {
  const outcome = await openSync(deps, connectionId, { trigger: "schedule" });
  if ("opened" in outcome) return { outcome: "opened", importId: outcome.opened.id, refused: null };
  if ("open" in outcome) return { outcome: "under_way", importId: outcome.open.id, refused: null };
  return { outcome: "refused", importId: null, refused: outcome.refused };
}

function refusalOf(
  connection: ConnectionRow | undefined,
  request: OpenSyncRequest,
  isSetUp: OpenSyncDependencies["isSetUp"],
): SyncRefusal | null {
  if (connection === undefined) return "missing";
  if (request.requireUserId !== undefined && request.requireUserId !== connection.user_id) return "missing";
  if (connection.account_off) return "account_off";
  if (connection.status === "needs_reauth" || connection.status === "unavailable") return connection.status;
  if (isSetUp?.(connection.provider) === false) return "unavailable";
  const paused = connection.paused || connection.status === "paused";
  return paused && request.trigger === "schedule" ? "paused" : null;
}

async function lockConnection(client: PoolClient, id: string): Promise<ConnectionRow | undefined> {
  const found = await client.query<ConnectionRow>(
    `select c.id, c.user_id, c.provider, c.status, c.paused, u.disabled_at is not null as account_off
       from connections c join users u on u.id = c.user_id
      where c.id = $1 for no key update of c`,
    [id],
  );
  return found.rows[0];
}

async function openJob(client: PoolClient, connectionId: string): Promise<JobRow | undefined> {
  const found = await client.query<{ id: string }>(
    `select id from import_jobs
      where connection_id = $1 and kind = 'sync' and status = any($2::import_status[])`,
    [connectionId, OPEN_IMPORT_STATUSES],
  );
  const id = found.rows[0]?.id;
  return id === undefined ? undefined : findJob(client, id);
}

async function insertJob(
  client: PoolClient,
  { id: connectionId, user_id: userId, provider }: ConnectionRow,
  { options = {} }: OpenSyncRequest,
  batchRows: number,
): Promise<JobRow> {
  const id = uuidv7();
  const stored: ImportOptions = {
    source: null,
    from: options.from ?? null,
    until: options.until ?? null,
    includeIncognito: options.includeIncognito ?? false,
  };
  await client.query(
    `insert into import_jobs (id, user_id, connection_id, kind, source, dry_run, options, options_hash, batch_rows,
       workflow_id, start_attempts, next_start_at)
     values ($1, $2, $3, 'sync', $4, $5, $6, $7, $8, $9, 1, now() + make_interval(secs => $10))`,
    [
      id,
      userId,
      connectionId,
      provider,
      options.dryRun ?? false,
      stored,
      // Of this job alone: a file that it fetches is no second upload of one that a person sent.
      createHash("sha256").update(id).digest(),
      batchRows,
      importWorkflowId(id, 1),
      START_GRACE_SECONDS,
    ],
  );
  return (await findJob(client, id))!; // inserted in this transaction
}
