/** The first of two readings of a part whose format has a survey. See docs/adr/0020. */
import { formatByName } from "./formats/index.js";
import { partsOf } from "./jobs.js";
import type { JobRow } from "./jobs.js";
import { readRecords } from "./reading/records.js";
import type { Upload, UploadEntry } from "./reading/upload.js";
import type { StepContext, StepsDependencies } from "./stepContext.js";
import type { ImportFormat, JudgeRecord } from "./types.js";
import { ImportError } from "./verdicts.js";

export interface SurveyedPart {
  readonly upload: Upload;
  readonly entry: UploadEntry;
  readonly job: JobRow;
  readonly format: ImportFormat;
}

type Dependencies = Pick<StepsDependencies, "pool" | "limits">;

/**
 * How to judge the records of the part: by its format alone, or after a look at other files of the upload and at all of
 * the part. A file that ends in an error is known as far as it goes, in every attempt alike; the part's own error is met
 * again when it is imported. Throws ImportError: `storage_lost`, and `resource_limit` of the surveyor.
 */
export async function surveyPart(
  deps: Dependencies,
  { upload, entry, job, format }: SurveyedPart,
  context: StepContext,
): Promise<JudgeRecord> {
  const { survey } = format;
  if (survey === undefined) return (record, part) => format.judge(record, part);
  const surveyor = survey.begin(job.created_at.getTime());
  const parts = await partsOf(deps.pool, [job.id]);
  for (const name of survey.lookUps) {
    const lookUp = formatByName(name);
    if (lookUp === undefined) continue;
    for (const { part_no: partNo } of parts.filter((part) => part.format === name)) {
      const file = await upload.entry(partNo);
      await tell(deps, file, lookUp, context, (record) => surveyor.lookUp(name, record));
    }
  }
  await tell(deps, entry, format, context, (record, position) => surveyor.see(record, position));
  return surveyor.finish();
}

async function tell(
  deps: Dependencies,
  entry: UploadEntry,
  format: ImportFormat,
  { signal, heartbeat }: StepContext,
  hear: (record: unknown, position: number) => void,
): Promise<void> {
  // A row that stands for several plays is told once.
  const { expand: _, ...once } = format;
  try {
    const options = { format: once, recordMaxBytes: deps.limits.recordMaxBytes, signal };
    for await (const { records, bytesRead } of readRecords(await entry.open(signal), options)) {
      heartbeat({ survey: entry.index, bytes: bytesRead });
      for (const record of records) if (!("reason" in record)) hear(record.value, record.position);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof ImportError) || ENDS_THE_PART.has(error.code)) throw error;
  }
}

const ENDS_THE_PART: ReadonlySet<string> = new Set(["storage_lost", "resource_limit"]);
