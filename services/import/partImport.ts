/** Imports one part, as one step of its import. */
import { formatByName } from "./formats/index.js";
import { assertOpen, findJob, findPart, JobClosedError } from "./jobs.js";
import type { JobRow, PartRow, RunRef } from "./jobs.js";
import { PartReader } from "./partReader.js";
import type { PartDependencies, Stopped } from "./partReader.js";
import { beginPart, settlePart } from "./partState.js";
import type { StepContext } from "./stepContext.js";
import { ImportError } from "./verdicts.js";
import { withUpload } from "./withUpload.js";

export interface PartOutcome {
  /** `stopped`: the job was asked to stop; `paused`: to wait, and the part goes on later. What was committed stays. */
  readonly status: "done" | "skipped" | "failed" | "stopped" | "paused";
  readonly read: number;
  readonly inserted: number;
}

export async function importPart(
  deps: PartDependencies,
  ref: RunRef,
  partNo: number,
  context: StepContext,
): Promise<PartOutcome> {
  const job = await findJob(deps.pool, ref.importId);
  const paused = job?.status === "paused" && job.attempt === ref.attempt;
  if (!paused) assertOpen(job, ref);
  const part = await findPart(deps.pool, ref.importId, partNo);
  if (part === undefined) throw new JobClosedError(ref);
  const { read, inserted } = part;
  if (part.status === "done" || part.status === "skipped" || part.status === "failed")
    return { status: part.status, read, inserted };
  if (paused) return { status: "paused", read, inserted };
  if (job.status === "cancelling") return { status: "stopped", read, inserted };

  // Settled, or the job closed, since it was read: look again.
  if (!(await beginPart(deps, ref, partNo))) return importPart(deps, ref, partNo, context);
  const stopped = await runPart(deps, job, part, context);
  if (stopped === null)
    return { ...(await settlePart(deps, ref, partNo, { status: "done" })), status: "done" };
  if (stopped instanceof ImportError) {
    const error = { code: stopped.code, message: stopped.message };
    const counts = await settlePart(deps, ref, partNo, { status: "failed", error });
    context.log.info("a part could not be read to its end", { importId: job.id, partNo, code: stopped.code });
    return { ...counts, status: "failed" };
  }
  switch (stopped.why) {
    case "cancelling":
    case "paused": {
      const now = await findPart(deps.pool, ref.importId, partNo);
      const status = stopped.why === "paused" ? "paused" : "stopped";
      return { status, read: now?.read ?? 0, inserted: now?.inserted ?? 0 };
    }
    case "owner_gone":
      throw new ImportError("owner_gone");
    case "closed":
      throw new JobClosedError(ref);
  }
}

/** Returns null at the end of the file, the error of the file, or why the job must not go on. */
async function runPart(
  deps: PartDependencies,
  job: JobRow,
  part: PartRow,
  context: StepContext,
): Promise<null | ImportError | Stopped> {
  const format = part.format === null ? undefined : formatByName(part.format);
  // Only another version of playlog can have named a format that this one does not have.
  if (format === undefined) throw new ImportError("parser_changed");
  return withUpload(deps, job, async (upload) => {
    try {
      const entry = await upload.entry(part.part_no);
      const stream = await entry.open(context.signal);
      return await new PartReader(deps, job, part, format, context).run(stream);
    } catch (error) {
      // What the archive layer has to say about this one file is this part's error, not the job's.
      if (error instanceof ImportError && error.code !== "storage_lost") return error;
      throw error;
    }
  });
}
