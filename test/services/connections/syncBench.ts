/** Syncs without a queue: the steps in the order in which a run calls them, and a provider that follows a script. */
import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import path from "node:path";
import type pg from "pg";
import type { ConnectionProvider } from "../../../db/models/enums.js";
import type {
  ArchiveProvider,
  LiveFormat,
  SyncAccess,
  SyncPage,
  SyncProvider,
} from "../../../services/connections/providers/types.js";
import { NO_SYNC_OBSERVER } from "../../../services/connections/syncing/observer.js";
import { openSync } from "../../../services/connections/syncing/openSync.js";
import type { OpenSyncRequest } from "../../../services/connections/syncing/openSync.js";
import { createSyncSteps } from "../../../services/connections/syncing/steps.js";
import type { SyncDependencies, SyncSteps } from "../../../services/connections/syncing/steps.js";
import { listenbrainz } from "../../../services/import/formats/listenbrainz.js";
import type { ImportQueue, SyncSchedule } from "../../../services/import/ImportQueue.js";
import { NO_OBSERVER } from "../../../services/import/observer.js";
import type { StepContext } from "../../../services/import/stepContext.js";
import { FileBlobStore } from "../../../services/storage/FileBlobStore.js";
import type { SyncStepResult } from "../../../workflows/contracts.js";
import { LIMITS, quietLog } from "../import/importing.js";

/** A queue that takes everything and does nothing, for what only has to hand work over. */
export function heardQueue(): ImportQueue & {
  readonly heard: string[];
  readonly schedules: Map<string, SyncSchedule>;
} {
  const heard: string[] = [];
  const schedules = new Map<string, SyncSchedule>();
  const nothing = (): Promise<never> => Promise.reject(new Error("not asked for in these tests"));
  return {
    heard,
    schedules,
    enqueue(work) {
      heard.push(work.kind === "import" ? `${work.jobKind} ${work.importId} ${work.attempt}` : work.kind);
      return Promise.resolve("started");
    },
    upsertSchedule(schedule) {
      schedules.set(schedule.connectionId, schedule);
      return Promise.resolve();
    },
    removeSchedule(connectionId) {
      schedules.delete(connectionId);
      return Promise.resolve();
    },
    listSchedules: () => Promise.resolve([...schedules.keys()]),
    inspectSchedule: nothing,
    requestCancel: nothing,
    setPaused: nothing,
    inspect: nothing,
    forget: nothing,
    health: nothing,
    close: () => Promise.resolve(),
  };
}

/** As the API of ListenBrainz gives it; one a minute. */
export const listen = (n: number): Record<string, unknown> => ({
  listened_at: 1_700_000_000 + n * 60,
  recording_msid: `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`,
  track_metadata: { artist_name: `Artist ${n % 5}`, track_name: `Song ${n}`, release_name: "Album" },
});
export const listens = (count: number, from = 0): Record<string, unknown>[] =>
  Array.from({ length: count }, (_, index) => listen(from + index));

const format: LiveFormat = {
  name: "listenbrainz-live",
  source: listenbrainz.source,
  judge: (record, context) => listenbrainz.judge(record, context),
  excerpt: (record) => listenbrainz.excerpt(record),
};

/** What the provider has, by place; a function is asked each time. */
export type Script = readonly (Partial<SyncPage> | (() => Promise<Partial<SyncPage>>))[];

export interface ScriptedProvider extends SyncProvider {
  /** Places asked for, in order, and when. */
  readonly asked: { readonly place: number; readonly polledAt: number }[];
}

/** Its cursor is the number of the next page; each page but the last says that there is more. */
export function scriptedProvider(
  script: Script,
  provider: ConnectionProvider = "listenbrainz",
): ScriptedProvider {
  const asked: ScriptedProvider["asked"] = [];
  return {
    provider,
    format,
    rereads: true,
    asked,
    async page({ cursor, polledAt, access }) {
      await access.token();
      const place = typeof cursor?.["place"] === "number" ? cursor["place"] : 0;
      asked.push({ place, polledAt });
      const entry = script[place] ?? {};
      const page = typeof entry === "function" ? await entry() : entry;
      return {
        records: [],
        gap: null,
        cursor: { place: Math.min(place + 1, script.length) },
        more: place + 1 < script.length,
        ...page,
      };
    },
  };
}

export async function insertConnection(
  pool: pg.Pool,
  userId: string,
  { provider = "listenbrainz", everyMinutes = 60, paused = false, status = "active" } = {},
): Promise<string> {
  const id = randomUUID();
  await pool.query(
    `insert into connections (id, user_id, provider, account, every_minutes, paused, status)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [id, userId, provider, `account-${id}`, everyMinutes, paused, status],
  );
  return id;
}

export const openAccess = (connectionId: string): Promise<SyncAccess> =>
  Promise.resolve({ connectionId, account: "somebody", token: () => Promise.resolve(null) });

export const syncSteps = (
  pool: pg.Pool,
  provider: SyncProvider | ArchiveProvider,
  over: Partial<SyncDependencies> = {},
): SyncSteps =>
  createSyncSteps({
    pool,
    providers: new Map([[provider.provider, provider]]),
    openAccess,
    observer: { ...NO_OBSERVER, ...NO_SYNC_OBSERVER },
    limits: LIMITS,
    pagesMax: 100,
    blobs: new FileBlobStore(path.join(tmpdir(), "playlog-no-files")),
    uploadMaxBytes: 1024 ** 2,
    ...over,
  });

export const stepContext = (signal = new AbortController().signal): StepContext => ({
  signal,
  heartbeat: () => {},
  log: quietLog,
});

export async function openedSync(
  pool: pg.Pool,
  connectionId: string,
  request: Partial<OpenSyncRequest> = {},
): Promise<string> {
  const deps = { pool, queue: heardQueue(), log: quietLog, batchRows: 100 };
  const outcome = await openSync(deps, connectionId, { trigger: "user", ...request });
  if (!("opened" in outcome)) throw new Error(`no sync was opened: ${JSON.stringify(outcome)}`);
  return outcome.opened.id;
}

/** Step after step until there is something else to do than the next. */
export async function stepsUntil(
  steps: SyncSteps,
  importId: string,
  attempt = 1,
): Promise<Exclude<SyncStepResult, { status: "more" }>> {
  for (let n = 0; n < 1000; n += 1) {
    const result = await steps.step({ importId, attempt }, stepContext());
    if (result.status !== "more") return result;
  }
  throw new Error("it does not end");
}
