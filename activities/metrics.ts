/** What the worker counts: imports as the steps tell of them, activities, reconciling. Shown on WORKER_OPS_PORT. */
import { Counter, Gauge, Histogram } from "prom-client";
import { CONNECTION_PROVIDERS } from "../db/models/enums.js";
import type { SyncObserver } from "../services/connections/syncing/observer.js";
import { FORMATS } from "../services/import/formats/index.js";
import type { ImportObserver } from "../services/import/observer.js";
import { IMPORT_ERRORS } from "../services/import/verdicts.js";
import { createRegistry, WORK_SECONDS } from "../utils/metrics.js";

type Told<Name extends keyof ImportObserver> = Parameters<ImportObserver[Name]>[0];

/** How an activity ended, once. */
export interface ActivityEnd {
  readonly activity: string;
  readonly seconds: number;
  /** Null: well. Else the type of its failure; `cancelled` is one of them. */
  readonly failure: string | null;
}

export class WorkerMetrics implements ImportObserver, SyncObserver {
  readonly registry = createRegistry();
  readonly #registers = [this.registry];

  readonly #rows = this.#counter(
    "playlog_import_rows_total",
    "Rows of committed batches; reason is empty for rows inserted",
    ["format", "verdict", "reason", "dry_run"],
  );
  readonly #batches = this.#histogram(
    "playlog_import_batch_seconds",
    "Time from the finished reading of a batch to its commit",
    ["format"],
  );
  readonly #queueWait = this.#histogram(
    "playlog_import_queue_wait_seconds",
    "Time an import waited between being accepted, or asked to run again, and its first step",
    ["kind"],
  );
  readonly #closed = this.#counter(
    "playlog_imports_closed_total",
    "Imports by the status they ended in and the error of those that failed",
    ["kind", "status", "code"],
  );
  readonly #duration = this.#histogram(
    "playlog_import_seconds",
    "Time from the first step of an import to its end",
    ["kind", "status"],
  );
  readonly #syncsClosed = this.#counter(
    "playlog_syncs_closed_total",
    "Syncs by provider, by the status they ended in and the error of those that failed",
    ["provider", "status", "code"],
  );
  readonly #syncRequests = this.#counter(
    "playlog_sync_requests_total",
    "Pages that syncs asked providers for, by what came of it",
    ["provider", "outcome"],
  );
  readonly #parts = this.#counter("playlog_import_parts_total", "Files of imports by how they ended", [
    "format",
    "status",
    "code",
  ]);
  readonly #waits = this.#counter(
    "playlog_import_waits_total",
    "Times a step found something outside unusable and is to be tried again",
    ["reason"],
  );
  readonly #lostAttempts = this.#counter(
    "playlog_import_lost_attempts_total",
    "Workers that vanished while they read a file",
    ["format"],
  );
  readonly #activities = this.#histogram(
    "playlog_activity_seconds",
    "Attempts of activities by how they ended",
    ["activity", "outcome"],
  );
  readonly #activityFailures = this.#counter(
    "playlog_activity_failures_total",
    "Attempts of activities that failed, by the type of the failure",
    ["activity", "type"],
  );
  readonly #passes = this.#counter(
    "playlog_reconciler_passes_total",
    "Passes of the reconciler; idle: another worker was at it",
    ["outcome"],
  );
  readonly #repairs = this.#counter("playlog_reconciler_actions_total", "What the reconciler made up for", [
    "action",
  ]);
  readonly #lastPass = new Gauge({
    name: "playlog_reconciler_last_pass_timestamp_seconds",
    help: "When a pass last came to its end here, whoever acted; 0 before the first",
    registers: this.#registers,
  });

  /** Failures are there from the start with 0: a rate of a series that begins with its first failure misses it. */
  constructor() {
    for (const code of Object.keys(IMPORT_ERRORS))
      this.#closed.inc({ kind: "file", status: "failed", code }, 0);
    for (const status of ["completed", "completed_with_errors", "cancelled"])
      this.#closed.inc({ kind: "file", status, code: "" }, 0);
    for (const { name: format } of FORMATS) {
      this.#rows.inc({ format, verdict: "rejected", reason: "database", dry_run: "false" }, 0);
      this.#lostAttempts.inc({ format }, 0);
    }
    for (const provider of CONNECTION_PROVIDERS) {
      this.#syncsClosed.inc({ provider, status: "failed", code: "provider" }, 0);
      for (const outcome of ["page", "rate_limited", "needs_reauth", "provider_error"])
        this.#syncRequests.inc({ provider, outcome }, 0);
    }
    for (const outcome of ["acted", "idle", "failed"]) this.#passes.inc({ outcome }, 0);
  }

  jobStarted({ kind, waitSeconds }: Told<"jobStarted">): void {
    this.#queueWait.observe({ kind }, waitSeconds);
  }

  jobClosed({ kind, status, code, seconds, provider }: Told<"jobClosed">): void {
    this.#closed.inc({ kind, status, code: code ?? "" });
    if (provider !== undefined) this.#syncsClosed.inc({ provider, status, code: code ?? "" });
    if (seconds !== null) this.#duration.observe({ kind, status }, seconds);
  }

  partSettled({ format, status, code }: Told<"partSettled">): void {
    this.#parts.inc({ format: format ?? "", status, code: code ?? "" });
  }

  batchCommitted({ format, dryRun, counts, reasons, seconds }: Told<"batchCommitted">): void {
    const dry_run = String(dryRun);
    this.#rows.inc({ format, verdict: "inserted", reason: "", dry_run }, counts.inserted);
    for (const verdict of ["duplicate", "skipped", "rejected"] as const) {
      for (const [reason, rows] of Object.entries(reasons[verdict]))
        this.#rows.inc({ format, verdict, reason, dry_run }, rows);
    }
    this.#batches.observe({ format }, seconds);
  }

  waiting({ reason }: Told<"waiting">): void {
    this.#waits.inc({ reason });
  }

  attemptLost({ format }: Told<"attemptLost">): void {
    this.#lostAttempts.inc({ format: format ?? "" });
  }

  syncStepped({ provider, outcome }: Parameters<SyncObserver["syncStepped"]>[0]): void {
    this.#syncRequests.inc({ provider, outcome });
  }

  activityEnded({ activity, seconds, failure }: ActivityEnd): void {
    const outcome = failure === null ? "ok" : failure === "cancelled" ? "cancelled" : "failed";
    this.#activities.observe({ activity, outcome }, seconds);
    if (failure !== null) this.#activityFailures.inc({ activity, type: failure });
  }

  /** @param result of a pass: whether it acted, and how often it did what; undefined when it threw */
  reconciled(result: { readonly acted: boolean } | undefined): void {
    this.#passes.inc({ outcome: result === undefined ? "failed" : result.acted ? "acted" : "idle" });
    if (result === undefined) return;
    for (const [action, times] of Object.entries(result))
      if (typeof times === "number") this.#repairs.inc({ action }, times);
    this.#lastPass.setToCurrentTime();
  }

  /** How many the queue was told of again, and how many were of no connection. */
  schedulesCompared({ told, removed }: { readonly told: number; readonly removed: number }): void {
    this.#repairs.inc({ action: "schedulesTold" }, told);
    this.#repairs.inc({ action: "schedulesRemoved" }, removed);
  }

  #counter<Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: this.#registers });
  }

  #histogram<Label extends string>(name: string, help: string, labelNames: Label[]): Histogram<Label> {
    return new Histogram({ name, help, labelNames, buckets: [...WORK_SECONDS], registers: this.#registers });
  }
}
