/** Receives one uploaded file, raw or in a form, straight into the blob store. */
import { pipeline } from "node:stream";
import type { BlobStore } from "../../services/storage/BlobStore.js";
import { AppError, PayloadTooLargeError, UnavailableError } from "../../utils/errors.js";
import type { AppContext } from "../types.js";
import { Arrival } from "./arrival.js";
import { FORM_MAX_BYTES, receiveForm } from "./form.js";
import { FileIntake } from "./intake.js";
import type { Received, Upload, UploadLimits } from "./types.js";

const isForm = (ctx: AppContext): boolean => ctx.request.is("multipart/form-data") === "multipart/form-data";

/**
 * The least that the file of this request can have, by its Content-Length; 0 when it has none. Throws
 * `PayloadTooLargeError` when that is more than it may have.
 */
export function announcedBytes(ctx: AppContext, limits: UploadLimits): number {
  const announced = Number(ctx.get("Content-Length")) - (isForm(ctx) ? FORM_MAX_BYTES : 0);
  if (announced > limits.maxBytes) throw new PayloadTooLargeError(limits.maxBytes, "upload");
  return Math.max(0, announced);
}

/**
 * Stores the file of this request. What the store says it holds is compared with what was received, by length
 * and by SHA-256. When it throws, nothing is left behind; afterwards the blob is the caller's to keep or delete.
 * A form may have the fields `fieldNames` beside its file.
 *
 * Throws 400 `empty_file`, `incomplete_body`, `malformed_form` and bad fields, 408, 413, 415 by the first bytes.
 */
export async function receiveUpload(
  ctx: AppContext,
  blobs: BlobStore,
  limits: UploadLimits,
  fieldNames: readonly string[],
): Promise<Upload> {
  announcedBytes(ctx, limits);
  const { blob, intake, filename, fields } = isForm(ctx)
    ? await receiveForm(ctx, blobs, limits, fieldNames)
    : await receiveRaw(ctx, blobs, limits);
  if (blob.sizeBytes !== intake.bytes || !blob.sha256.equals(intake.digest())) {
    await blobs.delete(blob.key);
    throw new UnavailableError("storage", "The upload could not be stored as it was received");
  }
  return { blob, filename, fields };
}

async function receiveRaw(ctx: AppContext, blobs: BlobStore, limits: UploadLimits): Promise<Received> {
  const arrival = new Arrival(ctx.req, limits, limits.refuse);
  const intake = new FileIntake();
  let failure: Error | undefined;
  const note = (error: Error): void => {
    failure ??= error;
  };
  arrival.on("error", note);
  intake.on("error", note);
  pipeline(arrival, intake, () => {}); // either of the two fails with the other; `note` has the reason
  try {
    const blob = await blobs.put(intake, { maxBytes: limits.maxBytes });
    return { blob, intake, filename: null, fields: {} };
  } catch (error) {
    arrival.destroy();
    throw failure instanceof AppError ? failure : error;
  }
}
