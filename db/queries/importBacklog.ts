/** What is open among the imports of everybody, for those who operate the service. */
import type { ClientBase } from "pg";
import { CONNECTION_STATUSES, OPEN_IMPORT_STATUSES } from "../models/enums.js";
import type { ConnectionStatus, ImportStatus } from "../models/enums.js";

export interface ImportBacklog {
  /** Every open status, also those with no import, and `undoing`. */
  readonly open: readonly { readonly status: ImportStatus; readonly jobs: number }[];
  readonly waiting: readonly { readonly reason: string; readonly jobs: number }[];
  readonly oldestQueuedSeconds: number;
  readonly longestStalledSeconds: number;
  /** Every status, also those of no connection. */
  readonly connections: readonly { readonly status: ConnectionStatus; readonly count: number }[];
}

const UNDER_WAY: readonly ImportStatus[] = [...OPEN_IMPORT_STATUSES, "undoing"];

/**
 * An import that was asked to run again waits since then, which no column says: each try to start it
 * stands for the pause before it. One that waits until a known time (`waiting_until`) is not stalled.
 */
export async function importBacklog(client: ClientBase): Promise<ImportBacklog> {
  const found = await client.query<{
    status: ImportStatus;
    reason: string | null;
    jobs: number;
    queued: number | null;
    stalled: number | null;
  }>(
    `select j.status, j.waiting_reason as reason, count(*)::int as jobs,
            (max(extract(epoch from now() - case when j.attempt = 1 then j.created_at
                                                 else now() - make_interval(secs => 5 * (j.start_attempts - 1)) end))
              filter (where j.status = 'queued'))::float8 as queued,
            (max(extract(epoch from now() - greatest(j.started_at, p.at, b.at)))
              filter (where j.status in ('running', 'cancelling')
                        and coalesce(j.waiting_until <= now(), true)))::float8 as stalled
       from import_jobs j
       left join lateral (select max(greatest(started_at, finished_at)) as at from import_parts where job_id = j.id) p on true
       left join lateral (select max(committed_at) as at from import_batches where job_id = j.id) b on true
      where j.status = any($1::import_status[])
      group by j.status, j.waiting_reason`,
    [UNDER_WAY],
  );
  const { rows } = found;
  const jobs = (some: typeof rows): number => some.reduce((sum, row) => sum + row.jobs, 0);
  const reasons = [...new Set(rows.flatMap((row) => row.reason ?? []))];
  return {
    open: UNDER_WAY.map((status) => ({ status, jobs: jobs(rows.filter((row) => row.status === status)) })),
    waiting: reasons.map((reason) => ({ reason, jobs: jobs(rows.filter((row) => row.reason === reason)) })),
    oldestQueuedSeconds: Math.max(0, ...rows.map((row) => row.queued ?? 0)),
    longestStalledSeconds: Math.max(0, ...rows.map((row) => row.stalled ?? 0)),
    connections: await connectionsByStatus(client),
  };
}

async function connectionsByStatus(client: ClientBase): Promise<ImportBacklog["connections"]> {
  const { rows } = await client.query<{ status: ConnectionStatus; count: number }>(
    "select status, count(*)::int as count from connections group by status",
  );
  const counts = new Map(rows.map(({ status, count }) => [status, count]));
  return CONNECTION_STATUSES.map((status) => ({ status, count: counts.get(status) ?? 0 }));
}
