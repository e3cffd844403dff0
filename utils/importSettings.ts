/** How the bounds of imports and uploads are written in settings. */
import type Joi from "joi";
import { GIB, MIB, whole } from "./settings.js";

/** Of each its setting, its default, and the least and the most that it may be. */
const SETTINGS = {
  uploadMaxBytes: ["UPLOAD_MAX_BYTES", 4 * GIB, 1, 64 * GIB],
  entryMaxBytes: ["ARCHIVE_ENTRY_MAX_BYTES", 4 * GIB, 1, 64 * GIB],
  unpackedMaxBytes: ["ARCHIVE_UNPACKED_MAX_BYTES", 16 * GIB, 1, 256 * GIB],
  maxEntries: ["ARCHIVE_MAX_ENTRIES", 5000, 1, 1_000_000],
  maxRatio: ["ARCHIVE_MAX_RATIO", 200, 1, 100_000],
  recordMaxBytes: ["RECORD_MAX_BYTES", 64 * 1024, 256, 16 * MIB],
  batchRows: ["IMPORT_BATCH_ROWS", 10_000, 1, 100_000],
  parallelParts: ["IMPORT_PARALLEL_PARTS", 2, 1, 16],
  heartbeatTimeoutMs: ["IMPORT_HEARTBEAT_TIMEOUT_MS", 30_000, 1000, 600_000],
  reconcileIntervalMs: ["RECONCILE_INTERVAL_MS", 15_000, 100, 3_600_000],
  blobKeepDays: ["UPLOAD_KEEP_DAYS", 7, 0, 3650],
  /** How deep ZIP files inside ZIP files are opened; 1: not at all. */
  maxDepth: ["ARCHIVE_MAX_DEPTH", 4, 1, 16],
  /** Characters of text in one batch; a batch of long texts is closed early. */
  batchChars: ["IMPORT_BATCH_CHARS", 8 * MIB, 1000, 256 * MIB],
  /** Rejected records of one import, after which its files are given up. */
  maxRejected: ["IMPORT_MAX_REJECTED", 250_000, 1, 100_000_000],
  /** Workers in a row that may vanish over one file before it is given up. */
  maxLostAttempts: ["IMPORT_MAX_LOST_ATTEMPTS", 3, 1, 1000],
  /** Pause before a step that found the database or the disk unusable is tried again. */
  outageRetryMs: ["IMPORT_OUTAGE_RETRY_MS", 5000, 100, 600_000],
  userSpoolMaxBytes: ["USER_SPOOL_MAX_BYTES", 8 * GIB, 1, 1024 * GIB],
  uploadsPerDay: ["UPLOADS_PER_DAY", 500, 1, 1_000_000],
  uploadsAtOnce: ["UPLOADS_AT_ONCE", 10, 1, 1000],
  uploadMinBytesPerSecond: ["UPLOAD_MIN_BYTES_PER_SECOND", 32 * 1024, 0, GIB],
  /** Listeners to the events of imports, per user. */
  eventStreamsPerUser: ["EVENT_STREAMS_PER_USER", 20, 1, 10_000],
  eventsPollMs: ["EVENTS_POLL_MS", 500, 10, 60_000],
  eventsKeepAliveMs: ["EVENTS_KEEP_ALIVE_MS", 15_000, 100, 600_000],
} as const;

export type ImportSettings = { readonly [Name in keyof typeof SETTINGS]: number };

export const importSchemas: Readonly<Record<string, Joi.NumberSchema>> = Object.fromEntries(
  Object.values(SETTINGS).map(([setting, usual, min, max]) => [setting, whole(min, max).default(usual)]),
);

/** @param num gives the value of a setting */
export const importsOf = (num: (setting: string) => number): ImportSettings =>
  Object.fromEntries(
    Object.entries(SETTINGS).map(([name, [setting]]) => [name, num(setting)]),
  ) as ImportSettings;
