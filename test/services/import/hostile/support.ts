/** Whole imports of hostile files, and everything about them that a test may compare. */
import { readdir } from "node:fs/promises";
import type pg from "pg";
import { ImportError } from "../../../../services/import/verdicts.js";
import { insertUser } from "../../../support/users.js";
import { createBench, digestOf, LIMITS } from "../importing.js";
import type { ImportBench, JobOptions } from "../importing.js";
import type { ImportLimits } from "../../../../services/import/stepContext.js";

export interface Outcome {
  readonly id: string;
  readonly user: string;
  readonly status: string;
  readonly code: string | null;
  readonly message: string | null;
  /** `name: status` or `name: status code`, in order. */
  readonly parts: string[];
  readonly messages: (string | null)[];
  /** `[read, inserted, duplicate, skipped, rejected]`. */
  readonly counts: number[];
  /** `position reason` of every rejected and skipped record that is listed, in order. */
  readonly ledger: string[];
  /** Rows in the history of the user. */
  readonly rows: number;
}

export interface HostileBench {
  readonly bench: ImportBench;
  /** Imports the bytes as their owner would see it: prepare, parts, finish, and the same when a step gives up. */
  run(upload: Buffer, options?: JobOptions): Promise<Outcome>;
  /** What is in the spool: names, folders too. */
  spool(): Promise<string[]>;
  close(): Promise<void>;
}

export async function createHostileBench(
  pool: pg.Pool,
  limits: Partial<ImportLimits> = {},
): Promise<HostileBench> {
  const bench = await createBench(pool, { limits: { ...LIMITS, ...limits } });
  return {
    bench,
    run: async (upload, options) => {
      const user = await insertUser(pool);
      const id = await bench.job(user, upload, options);
      return importJob(bench, user, id);
    },
    spool: async () => (await readdir(bench.spoolDir, { recursive: true })).sort(),
    close: () => bench.close(),
  };
}

export async function importJob(bench: ImportBench, user: string, id: string): Promise<Outcome> {
  const ref = { importId: id, attempt: 1 };
  try {
    await bench.run(id);
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
    await bench.steps.finish(ref, { outcome: "failed", code: error.code, message: error.message });
  }
  return outcomeOf(bench.pool, user, id);
}

export async function outcomeOf(pool: pg.Pool, user: string, id: string): Promise<Outcome> {
  const job = await pool.query<{ status: string; error_code: string | null; error_message: string | null }>(
    "select status, error_code, error_message from import_jobs where id = $1",
    [id],
  );
  const parts = await pool.query<{
    name: string;
    status: string;
    error_code: string | null;
    error_message: string | null;
    counts: number[];
  }>(
    `select name, status, error_code, error_message, array[read, inserted, duplicate, skipped, rejected] as counts
       from import_parts where job_id = $1 order by part_no`,
    [id],
  );
  const rows = await pool.query<{ line: string }>(
    "select position || ' ' || reason as line from import_rows where job_id = $1 order by part_no, position",
    [id],
  );
  const { status, error_code: code, error_message: message } = job.rows[0]!;
  return {
    id,
    user,
    status,
    code,
    message,
    parts: parts.rows.map((part) =>
      [`${part.name}: ${part.status}`, ...(part.error_code === null ? [] : [part.error_code])].join(" "),
    ),
    messages: parts.rows.map((part) => part.error_message),
    counts: [0, 1, 2, 3, 4].map((at) => parts.rows.reduce((sum, part) => sum + (part.counts[at] ?? 0), 0)),
    ledger: rows.rows.map(({ line }) => line),
    rows: (await digestOf(pool, user)).rows,
  };
}
