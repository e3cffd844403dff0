/** One upload from the wire to an accepted import, with its quotas and its Idempotency-Key. */
import { createHash } from "node:crypto";
import { brokenConstraint } from "../../../db/errors.js";
import {
  type IdempotencyStore,
  parseIdempotencyKey,
  RequestInProgressError,
  type StoredAnswer,
} from "../../../services/idempotency/IdempotencyStore.js";
import type { Admission, UploadQuotas } from "../../../services/import/quotas.js";
import { releaseUpload } from "../../../services/import/releaseUpload.js";
import { UnauthorizedError } from "../../../utils/errors.js";
import type { AppContext, AppDeps } from "../../types.js";
import { announcedBytes, receiveUpload } from "../../upload/receive.js";
import type { UploadLimits } from "../../upload/types.js";
import { checkRange, mergeOptions, OPTION_NAMES } from "../../upload/options.js";
import { presentImport } from "./presenter.js";
import type { CreateImportQuery } from "./schema.js";

const LABEL_MAX_LENGTH = 255;

type Deps = Pick<AppDeps, "imports" | "blobs" | "database" | "log"> & {
  readonly limits: UploadLimits;
  readonly quotas: UploadQuotas;
  readonly idempotency: IdempotencyStore;
};

export async function acceptUpload(
  ctx: AppContext,
  deps: Deps,
  userId: string,
  query: CreateImportQuery,
): Promise<StoredAnswer> {
  checkRange(query);
  const key = parseIdempotencyKey(ctx.req.headers["idempotency-key"]?.toString());
  const announced = announcedBytes(ctx, deps.limits);
  const receive = (): Promise<StoredAnswer> =>
    deps.quotas.run(userId, announced, (admission) =>
      receiveAndAccept(ctx, deps, admission, userId, query, key),
    );
  if (key === undefined) return receive();
  try {
    return await deps.idempotency.hold(userId, key, receive);
  } catch (error) {
    if (error instanceof RequestInProgressError) ctx.set("Retry-After", String(error.retryAfterSeconds));
    throw error;
  }
}

async function receiveAndAccept(
  ctx: AppContext,
  deps: Deps,
  admission: Admission,
  userId: string,
  query: CreateImportQuery,
  key: string | undefined,
): Promise<StoredAnswer> {
  const limits = { ...deps.limits, refuse: (fileBytes: number) => admission.received(fileBytes) };
  const upload = await receiveUpload(ctx, deps.blobs, limits, OPTION_NAMES);
  let accepted = false;
  try {
    const { dryRun, options } = mergeOptions(query, upload.fields);
    const filename = label(upload.filename ?? query.filename ?? null);
    const accept = async (): Promise<StoredAnswer> => {
      await admission.confirm(upload.blob.sizeBytes);
      const { job, created } = await deps.imports
        .accept({ userId, kind: "file", filename, blob: upload.blob, dryRun, options })
        .catch((error: unknown) => {
          throw brokenConstraint(error) === OWNER_CONSTRAINT ? new UnauthorizedError() : error;
        });
      accepted = true;
      return {
        status: created ? 202 : 200,
        headers: { Location: `/api/v1/imports/${job.id}` },
        body: presentImport(job),
      };
    };
    if (key === undefined) return await accept();
    const { source, from, until, includeIncognito } = options;
    const request = [
      upload.blob.sha256.toString("hex"),
      filename,
      dryRun,
      source,
      from,
      until,
      includeIncognito,
    ];
    const hash = createHash("sha256").update(JSON.stringify(request)).digest();
    return (await deps.idempotency.once(userId, key, hash, accept)).answer;
  } finally {
    if (!accepted) await releaseUpload({ ...deps, pool: deps.database.pool }, userId, upload.blob.key);
  }
}

/** The account was deleted while the upload came in. */
const OWNER_CONSTRAINT = "import_jobs_user_id_fkey";

/** The last part of a path, of either kind, without control characters. */
function label(name: string | null): string | null {
  const base = (name ?? "").replace(/^.*[/\\]/s, "").replace(/\p{Cc}/gu, "");
  return [...base].slice(0, LABEL_MAX_LENGTH).join("") || null;
}
