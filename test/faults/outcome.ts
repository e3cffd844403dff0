/** What became of an import, in a form that two ways to the same end have in common; and what it must not leave. */
import { readdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import type pg from "pg";
import { createBench, digestOf } from "../services/import/importing.js";
import { insertUser } from "../support/users.js";

export interface Outcome {
  readonly status: string;
  readonly counts: object;
  readonly reasons: object;
  /** Number and digest of the records that were skipped or rejected. */
  readonly ledger: object;
  readonly batches: number;
  readonly history: object;
}

/**
 * Checks on the way that the marks of the batches have no gap, that they, the files and the job agree about what was
 * read, and that every record read has its verdict.
 */
export async function outcomeOf(pool: pg.Pool, importId: string): Promise<Outcome> {
  const found = await pool.query<{ user_id: string; status: string; totals: Totals }>(
    "select user_id, status, totals from import_jobs where id = $1",
    [importId],
  );
  const { user_id: userId, status, totals } = found.rows[0]!;
  const { read, inserted, duplicate, skipped, rejected } = totals.counts;
  expect(read).to.equal(inserted + duplicate + skipped + rejected);
  const batches = await pool.query<{ part_no: number; marks: number; last: number; read: number }>(
    `select part_no, count(*)::bigint as marks, max(batch_no) as last, sum(read)::bigint as read
       from import_batches where job_id = $1 group by part_no`,
    [importId],
  );
  for (const part of batches.rows)
    expect(part.marks, "marks of a file without a gap").to.equal(part.last + 1);
  expect(sum(batches.rows.map((part) => part.read)), "records under a mark").to.equal(read);
  const ledger = await pool.query<{ rows: number; digest: string }>(
    `select count(*)::bigint as rows,
            md5(string_agg(concat_ws('|', part_no, position, verdict, reason, excerpt), E'\n'
                           order by part_no, position)) as digest
       from import_rows where job_id = $1`,
    [importId],
  );
  expect(ledger.rows[0]?.rows, "listed records").to.equal(skipped + rejected);
  return {
    status,
    counts: totals.counts,
    reasons: totals.reasons,
    ledger: ledger.rows[0]!,
    batches: sum(batches.rows.map((part) => part.marks)),
    history: await digestOf(pool, userId),
  };
}

interface Totals {
  readonly counts: Record<"read" | "inserted" | "duplicate" | "skipped" | "rejected" | "linked", number>;
  readonly reasons: object;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

/** The same upload by the same steps with nothing going wrong: in this process, one step after the other. */
export async function undisturbed(
  pool: pg.Pool,
  upload: Buffer,
  options: { readonly filename?: string; readonly batchRows?: number } = {},
): Promise<Outcome> {
  const bench = await createBench(pool);
  try {
    const id = await bench.job(await insertUser(pool), upload, { filename: "export.zip", ...options });
    await bench.run(id);
    const outcome = await outcomeOf(pool, id);
    // Or a reconciler would look for the file, which goes with the bench.
    await pool.query("update import_jobs set blob_key = null, blob_delete_after = null where id = $1", [id]);
    return outcome;
  } finally {
    await bench.close();
  }
}

/** No transaction stands open (the worker's upkeep makes short ones all the time), nothing is half uploaded, and every stored file belongs to an import. */
export async function expectNothingLeft(pool: pg.Pool, spoolDir: string): Promise<void> {
  const open = async (): Promise<readonly unknown[]> => {
    const found = await pool.query(
      `select application_name, state, wait_event, now() - xact_start as age, left(query, 200) as query
         from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
          and (state = 'active' or state like 'idle in transaction%') and xact_start < now() - interval '3 seconds'`,
    );
    return found.rows;
  };
  for (let tries = 0; tries < 100 && (await open()).length > 0; tries += 1) await sleep(50);
  expect(await open(), "open transactions").to.deep.equal([]);
  const named = await pool.query<{ blob_key: string }>(
    "select blob_key from import_jobs where blob_key is not null",
  );
  const keys = new Set(named.rows.map((row) => row.blob_key));
  const files = await readdir(spoolDir, { recursive: true }).catch(() => []);
  expect(files.filter((name) => !keys.has(name))).to.deep.equal([], "files in the spool that nobody names");
}
