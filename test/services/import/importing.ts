/** Imports in tests: uploads made of records, jobs put straight into the table, and the steps run by hand. */
import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import type pg from "pg";
import type { ImportQueue } from "../../../services/import/ImportQueue.js";
import { NO_OBSERVER } from "../../../services/import/observer.js";
import { ImportService } from "../../../services/import/ImportService.js";
import type { ImportOptions } from "../../../services/import/jobs.js";
import { TemporalImportQueue } from "../../../services/import/queues/TemporalImportQueue.js";
import type { ImportLimits, StepContext, StepsDependencies } from "../../../services/import/stepContext.js";
import { createImportSteps } from "../../../services/import/steps.js";
import type { ImportSteps } from "../../../services/import/steps.js";
import type { BlobStore } from "../../../services/storage/BlobStore.js";
import { FileBlobStore } from "../../../services/storage/FileBlobStore.js";
import { createLogger } from "../../../utils/logger.js";
import { importWorkflowId } from "../../../workflows/contracts.js";

export const LIMITS: ImportLimits = {
  entryMaxBytes: 1024 ** 3,
  unpackedMaxBytes: 1024 ** 3,
  maxEntries: 5000,
  maxRatio: 200,
  recordMaxBytes: 64 * 1024,
  maxDepth: 4,
  batchChars: 8 * 1024 ** 2,
  maxRejected: 250_000,
  maxLostAttempts: 3,
};

export const quietLog = createLogger({ level: "error", format: "json" }, { service: "test" });

export interface PlayFields {
  readonly at?: string;
  readonly ms?: number;
  readonly title?: string;
  readonly artist?: string;
  readonly album?: string;
  readonly uri?: string;
}

const FIRST = Date.parse("2020-01-01T00:00:00Z");

/** A record of Spotify's extended history; the n-th is a play of its own. */
export function play(n: number, fields: PlayFields = {}): Record<string, unknown> {
  const track = n % 50;
  return {
    ts: fields.at ?? new Date(FIRST + n * 300_000).toISOString().replace(".000", ""),
    platform: "linux",
    ms_played: fields.ms ?? 200_000,
    conn_country: "NL",
    master_metadata_track_name: fields.title ?? `Track ${track}`,
    master_metadata_album_artist_name: fields.artist ?? `Artist ${track % 7}`,
    master_metadata_album_album_name: fields.album ?? `Album ${track % 11}`,
    spotify_track_uri: fields.uri ?? `spotify:track:${String(track).padStart(22, "0")}`,
    episode_name: null,
    episode_show_name: null,
    spotify_episode_uri: null,
    reason_start: "trackdone",
    reason_end: "trackdone",
    shuffle: false,
    skipped: false,
    offline: false,
    offline_timestamp: null,
    incognito_mode: false,
  };
}

export const plays = (count: number, from = 0): Record<string, unknown>[] =>
  Array.from({ length: count }, (_, index) => play(from + index));

export function podcast(n: number): Record<string, unknown> {
  return { ...play(n), episode_name: `Episode ${n}`, episode_show_name: "A show", spotify_track_uri: null };
}

export interface ImportBench {
  readonly steps: ImportSteps;
  readonly blobs: FileBlobStore;
  readonly pool: pg.Pool;
  readonly spoolDir: string;
  /** Puts a job for these bytes into the table, `queued`, and gives its id. */
  job(userId: string, upload: Buffer, options?: JobOptions): Promise<string>;
  /** prepare, every open part in order, link, finish; gives the status. */
  run(importId: string, attempt?: number): Promise<string>;
  context(signal?: AbortSignal): StepContext;
  close(): Promise<void>;
}

export interface JobOptions {
  readonly filename?: string;
  readonly batchRows?: number;
  readonly source?: string | null;
  readonly dryRun?: boolean;
  readonly options?: Partial<Omit<ImportOptions, "source">>;
}

export async function createBench(
  pool: pg.Pool,
  over: Partial<StepsDependencies> = {},
): Promise<ImportBench> {
  const spoolDir = await mkdtemp(path.join(tmpdir(), "playlog-import-"));
  const blobs = new FileBlobStore(spoolDir);
  const steps = createImportSteps({
    pool,
    blobs,
    limits: LIMITS,
    blobKeepDays: 7,
    observer: NO_OBSERVER,
    ...over,
  });
  const context = (signal = new AbortController().signal): StepContext => ({
    signal,
    heartbeat: () => {},
    log: quietLog,
  });
  return {
    steps,
    blobs,
    pool,
    spoolDir,
    context,
    async job(
      userId,
      upload,
      { filename = "upload.json", batchRows = 100, source = null, dryRun = false, options = {} } = {},
    ) {
      const blob = await blobs.put(Readable.from([upload]), { maxBytes: 1024 ** 3 });
      const id = randomUUID();
      await pool.query(
        `insert into import_jobs (id, user_id, kind, source, filename, size_bytes, sha256, blob_key, options, options_hash,
           batch_rows, workflow_id, dry_run)
         values ($1, $2, 'file', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
        [
          id,
          userId,
          source,
          filename,
          blob.sizeBytes,
          blob.sha256,
          blob.key,
          { source, ...options },
          createHash("sha256").update(id).digest(), // jobs of a test may share an upload
          batchRows,
          importWorkflowId(id, 1),
          dryRun,
        ],
      );
      return id;
    },
    async run(importId, attempt = 1) {
      const ref = { importId, attempt };
      await steps.prepare(ref, context());
      for (const partNo of await steps.openParts(ref, -1, 1000))
        await steps.importPart(ref, partNo, context());
      await steps.link(ref, context());
      return steps.finish(ref, { outcome: "completed" });
    },
    close: () => rm(spoolDir, { recursive: true, force: true }),
  };
}

/** A queue that no worker asks: what is started stays open, and tests run the steps themselves. */
export const queueAt = (address: string): TemporalImportQueue =>
  new TemporalImportQueue({
    address,
    namespace: "default",
    taskQueue: `nobody-${randomUUID()}`,
    parallelParts: 2,
    heartbeatTimeoutMs: 5000,
    log: quietLog,
  });

export const serviceOf = (pool: pg.Pool, blobs: BlobStore, queue: ImportQueue): ImportService =>
  new ImportService({ pool, queue, blobs, log: quietLog, batchRows: 100, blobKeepDays: 7 });

export interface JobCounts {
  readonly status: string;
  readonly read: number;
  readonly inserted: number;
  readonly duplicate: number;
  readonly skipped: number;
  readonly rejected: number;
}

export async function countsOfJob(pool: pg.Pool, importId: string): Promise<JobCounts> {
  const found = await pool.query<JobCounts>(
    `select j.status, sum(read)::bigint as read, sum(inserted)::bigint as inserted,
            sum(duplicate)::bigint as duplicate, sum(skipped)::bigint as skipped, sum(rejected)::bigint as rejected
       from import_jobs j join import_parts p on p.job_id = j.id where j.id = $1 group by j.status`,
    [importId],
  );
  return found.rows[0]!;
}

/** What a user's history is, without anything that may differ between two ways to the same rows. */
export async function digestOf(pool: pg.Pool, userId: string): Promise<{ rows: number; digest: string }> {
  const found = await pool.query<{ rows: number; digest: string }>(
    `select count(*)::bigint as rows,
            md5(string_agg(concat_ws('|', encode(h.source_key, 'hex'), h.played_at at time zone 'UTC', h.ms_played,
              t.title, a.name, b.title, h.source, h.counted, h.context::text), E'\n' order by h.source_key)) as digest
       from listening_history h
       join tracks t on t.id = h.track_id
       join artists a on a.id = h.artist_id
       left join albums b on b.id = h.album_id
      where h.user_id = $1`,
    [userId],
  );
  return found.rows[0]!;
}

export const json = (records: readonly unknown[]): Buffer => Buffer.from(JSON.stringify(records));
