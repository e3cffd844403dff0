/** Imports as JSON. A field that a service adds never gets out by itself. */
import type { ImportJobView, ImportPartView } from "../../../services/import/views.js";

export const presentImport = (job: ImportJobView) => ({
  id: job.id,
  kind: job.kind,
  status: job.status,
  source: job.source,
  sources: job.sources,
  filename: job.filename,
  sizeBytes: job.sizeBytes,
  sha256: job.sha256,
  dryRun: job.dryRun,
  options: {
    source: job.options.source,
    from: job.options.from,
    until: job.options.until,
    includeIncognito: job.options.includeIncognito,
  },
  counts: presentCounts(job.counts),
  skipped: job.skipped,
  rejected: job.rejected,
  duplicate: job.duplicate,
  progress: job.progress,
  parts: job.parts.map(presentPart),
  waiting: job.waiting && { reason: job.waiting.reason, until: isoOrNull(job.waiting.until) },
  error: job.error,
  workflowId: job.workflowId,
  createdAt: job.createdAt.toISOString(),
  startedAt: isoOrNull(job.startedAt),
  finishedAt: isoOrNull(job.finishedAt),
});

const presentPart = ({ name, format, status, counts, error }: ImportPartView) => ({
  name,
  format,
  status,
  counts: presentCounts(counts),
  error,
});

const presentCounts = ({
  read,
  inserted,
  duplicate,
  skipped,
  rejected,
  linked,
}: ImportJobView["counts"]) => ({
  read,
  inserted,
  duplicate,
  skipped,
  rejected,
  linked,
});

const isoOrNull = (time: Date | null): string | null => time?.toISOString() ?? null;
