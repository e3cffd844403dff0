/** One upload from the wire to an accepted import, with its Idempotency-Key. */
import { createHash } from "node:crypto";
import { brokenConstraint } from "../../../db/errors.js";
import {
  type IdempotencyStore,
  parseIdempotencyKey,
  RequestInProgressError,
  type StoredAnswer,
} from "../../../services/idempotency/IdempotencyStore.js";
import { releaseUpload } from "../../../services/import/releaseUpload.js";
import { NotSupportedError, UnauthorizedError, ValidationError } from "../../../utils/errors.js";
import { validate } from "../../middleware/validation.js";
import type { AppContext, AppDeps } from "../../types.js";
import { receiveUpload } from "../../upload/receive.js";
import type { Upload, UploadLimits } from "../../upload/types.js";
import { presentImport } from "./presenter.js";
import { type CreateImportQuery, formOptions, UNSUPPORTED_OPTIONS } from "./schema.js";

const FORM = { fields: Object.keys(formOptions.describe().keys as object), unsupported: UNSUPPORTED_OPTIONS };
const LABEL_MAX_LENGTH = 255;

type Deps = Pick<AppDeps, "imports" | "blobs" | "database" | "log"> & {
  readonly idempotency: IdempotencyStore;
};

export async function acceptUpload(
  ctx: AppContext,
  deps: Deps,
  limits: UploadLimits,
  userId: string,
  query: CreateImportQuery,
): Promise<StoredAnswer> {
  refuseUnsupported(query);
  const key = parseIdempotencyKey(ctx.req.headers["idempotency-key"]?.toString());
  if (key === undefined) return receiveAndAccept(ctx, deps, limits, userId, query, undefined);
  try {
    return await deps.idempotency.hold(userId, key, () =>
      receiveAndAccept(ctx, deps, limits, userId, query, key),
    );
  } catch (error) {
    if (error instanceof RequestInProgressError) ctx.set("Retry-After", String(error.retryAfterSeconds));
    throw error;
  }
}

async function receiveAndAccept(
  ctx: AppContext,
  deps: Deps,
  limits: UploadLimits,
  userId: string,
  query: CreateImportQuery,
  key: string | undefined,
): Promise<StoredAnswer> {
  const upload = await receiveUpload(ctx, deps.blobs, limits, FORM);
  let accepted = false;
  try {
    const source = sourceOf(query, upload);
    const filename = label(upload.filename ?? query.filename ?? null);
    const accept = async (): Promise<StoredAnswer> => {
      const { job, created } = await deps.imports
        .accept({
          userId,
          kind: "file",
          filename,
          blob: upload.blob,
          options: { source, from: null, until: null, includeIncognito: false },
        })
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
    const request = JSON.stringify([upload.blob.sha256.toString("hex"), source, filename]);
    const hash = createHash("sha256").update(request).digest();
    return (await deps.idempotency.once(userId, key, hash, accept)).answer;
  } finally {
    if (!accepted) await releaseUpload({ ...deps, pool: deps.database.pool }, userId, upload.blob.key);
  }
}

/** The account was deleted while the upload came in. */
const OWNER_CONSTRAINT = "import_jobs_user_id_fkey";

function refuseUnsupported(query: CreateImportQuery): void {
  const name = UNSUPPORTED_OPTIONS.find((option) => query[option] !== undefined);
  if (name !== undefined) throw new NotSupportedError(name, `The option ${name} is not supported yet`);
}

/** From the query string or from the form, not from both. */
function sourceOf(query: CreateImportQuery, { fields }: Upload): string | null {
  const form = validate(formOptions, fields, "form");
  if (query.source !== undefined && form.source !== undefined) {
    const message = "source is in the query string and in the form";
    throw new ValidationError(message, [{ path: "source", code: "conflicting", message }]);
  }
  return query.source ?? form.source ?? null;
}

/** The last part of a path, of either kind, without control characters. */
function label(name: string | null): string | null {
  const base = (name ?? "").replace(/^.*[/\\]/s, "").replace(/\p{Cc}/gu, "");
  return [...base].slice(0, LABEL_MAX_LENGTH).join("") || null;
}
