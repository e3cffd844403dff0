/** The first step: what is in the upload, file by file, told by content. */
import type { Pool, PoolClient } from "pg";
import { begin } from "./beginning.js";
import { FORMATS, formatByName } from "./formats/index.js";
import { assertOpen, lockJob, partsOf } from "./jobs.js";
import type { JobRow, PartRow, RunRef } from "./jobs.js";
import { detectFormat } from "./reading/detect.js";
import type { Upload, UploadEntry } from "./reading/upload.js";
import type { StepContext, StepsDependencies } from "./stepContext.js";
import { IMPORT_ERRORS, ImportError } from "./verdicts.js";
import type { ImportErrorCode } from "./verdicts.js";
import { withUpload } from "./withUpload.js";
import { inTransaction } from "../../db/transaction.js";

export interface Prepared {
  /** The job is paused: nothing was looked at, and the rest says nothing. */
  readonly paused?: boolean;
  readonly partsTotal: number;
  /** Parts still to import. */
  readonly partsOpen: number;
  /** Provider of what can be imported (`spotify`); `mixed` when there are several. */
  readonly provider: string;
}

/** What is known of a file before it is read. */
interface NewPart {
  readonly partNo: number;
  readonly name: string;
  readonly format: string | null;
  readonly bytesTotal: number;
  readonly status: "queued" | "skipped" | "failed";
  readonly error: { readonly code: string; readonly message: string } | null;
}

/**
 * Takes the job from `queued` to `running` and writes its parts, all in one transaction; parts that are there
 * already are kept as they are, so a second run of this step, or a retry of the job, goes on where the first was.
 *
 * Throws the error of the whole upload when nothing in it can be imported; its parts then say why, file by file.
 */
export async function prepare(deps: StepsDependencies, ref: RunRef, context: StepContext): Promise<Prepared> {
  const job = await begin(deps, ref);
  if (job === "paused") return { paused: true, partsTotal: 0, partsOpen: 0, provider: "" };
  let parts = await partsOf(deps.pool, [job.id]);
  if (parts.length === 0) {
    await writeParts(deps.pool, ref, await inspect(deps, job, context));
    parts = await partsOf(deps.pool, [job.id]);
  }
  return conclude(parts);
}

async function inspect(deps: StepsDependencies, job: JobRow, context: StepContext): Promise<NewPart[]> {
  const wanted = job.options.source ?? null;
  const lookInto = async (upload: Upload): Promise<NewPart[]> => {
    const parts: NewPart[] = [];
    for await (const entry of upload.entries()) {
      context.signal.throwIfAborted();
      context.heartbeat({ file: entry.index });
      parts.push(await look(entry, wanted, context.signal));
    }
    // A loose file is the whole upload: what is wrong with it is wrong with the import.
    const [only] = parts;
    if (upload.kind === "loose" && only?.error != null && isErrorCode(only.error.code))
      throw new ImportError(only.error.code, only.error.message);
    if (parts.length === 0) throw new ImportError("no_known_files");
    return parts;
  };
  return withUpload(deps, job, lookInto, context.signal);
}

async function look(entry: UploadEntry, wanted: string | null, signal: AbortSignal): Promise<NewPart> {
  const part = { partNo: entry.index, name: entry.name, bytesTotal: entry.sizeBytes };
  const found = await detectFormat(entry, signal);
  if (found.format === undefined) {
    const error = { code: found.skipped, message: found.message };
    if (error.code === "storage_lost") throw new ImportError(error.code, error.message);
    // Not ours to import is one thing; could not be looked into is another, and the owner must hear of it.
    const status = NOT_OURS.has(error.code) ? "skipped" : "failed";
    return { ...part, format: null, status, error };
  }
  const { name, source } = found.format;
  if (wanted !== null && !matchesSource(source, wanted)) {
    const message = `This file is ${source}; the upload was to import ${wanted} only`;
    return { ...part, format: name, status: "skipped", error: { code: "unrecognised_format", message } };
  }
  return { ...part, format: name, status: "queued", error: null };
}

const NOT_OURS: ReadonlySet<ImportErrorCode> = new Set(["unrecognised_format", "empty_file"]);

/** A source is named by its family or by its provider: `spotify` is every `spotify-...`. */
const matchesSource = (family: string, wanted: string): boolean =>
  family === wanted || family.startsWith(`${wanted}-`);

/** True when some format that is built reads this source, so that asking for it can be met at all. */
export const isImportableSource = (wanted: string): boolean =>
  FORMATS.some((format) => matchesSource(format.source, wanted));

async function writeParts(pool: Pool, ref: RunRef, parts: readonly NewPart[]): Promise<void> {
  await inTransaction(pool, async (client: PoolClient) => {
    const job = await lockJob(client, ref.importId);
    assertOpen(job, ref);
    await client.query(
      `insert into import_parts (job_id, part_no, name, format, bytes_total, status, error_code, error_message)
       select $1, * from unnest($2::int[], $3::text[], $4::text[], $5::bigint[], $6::part_status[], $7::text[], $8::text[])
       on conflict (job_id, part_no) do nothing`,
      [
        job.id,
        parts.map((part) => part.partNo),
        parts.map((part) => part.name),
        parts.map((part) => part.format),
        parts.map((part) => part.bytesTotal),
        parts.map((part) => part.status),
        parts.map((part) => part.error?.code ?? null),
        parts.map((part) => part.error?.message ?? null),
      ],
    );
    const sources = parts.flatMap((part) =>
      part.status === "queued" && part.format !== null ? (formatByName(part.format)?.source ?? []) : [],
    );
    await client.query("update import_jobs set sources = $2, version = version + 1 where id = $1", [
      job.id,
      [...new Set(sources)].sort(),
    ]);
  });
}

/** Deterministic in the parts, so that a run after a crash comes to the same end. */
function conclude(parts: readonly PartRow[]): Prepared {
  const importable = parts.filter((part) => part.status !== "skipped" && part.format !== null);
  if (importable.length === 0) {
    const failed = parts.filter((part) => part.status === "failed");
    const [first] = failed;
    const code = first?.error_code ?? null;
    // When every file that could be one fails for the same reason, that is the news; else that none is known.
    if (code !== null && isErrorCode(code) && failed.every((part) => part.error_code === code))
      throw new ImportError(code, first?.error_message ?? undefined);
    throw new ImportError("no_known_files");
  }
  const open = importable.filter((part) => part.status === "queued" || part.status === "running");
  const providers = new Set(importable.map((part) => part.format?.split("-")[0] ?? ""));
  const [provider = ""] = providers;
  return {
    partsTotal: parts.length,
    partsOpen: open.length,
    provider: providers.size === 1 ? provider : "mixed",
  };
}

const isErrorCode = (code: string): code is ImportErrorCode => Object.hasOwn(IMPORT_ERRORS, code);
