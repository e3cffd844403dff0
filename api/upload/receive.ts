/** Receives one uploaded file, raw or in a form, straight into the blob store. */
import { pipeline } from "node:stream";
import type { BlobStore } from "../../services/storage/BlobStore.js";
import { AppError, PayloadTooLargeError, UnavailableError } from "../../utils/errors.js";
import type { AppContext } from "../types.js";
import { Arrival } from "./arrival.js";
import { FORM_MAX_BYTES, type FormOptions, receiveForm } from "./form.js";
import { FileIntake } from "./intake.js";
import type { Received, Upload, UploadLimits } from "./types.js";

/**
 * Stores the file of this request. What the store says it holds is compared with what was received, by length
 * and by SHA-256. When it throws, nothing is left behind; afterwards the blob is the caller's to keep or delete.
 *
 * Throws 400 `empty_file`, `incomplete_body`, `malformed_form` and bad fields, 408, 413, 415 by the first bytes.
 */
export async function receiveUpload(
  ctx: AppContext,
  blobs: BlobStore,
  limits: UploadLimits,
  form: FormOptions,
): Promise<Upload> {
  const isForm = ctx.request.is("multipart/form-data") === "multipart/form-data";
  const announced = Number(ctx.get("Content-Length"));
  if (announced > limits.maxBytes + (isForm ? FORM_MAX_BYTES : 0)) {
    throw new PayloadTooLargeError(limits.maxBytes, "upload");
  }
  const { blob, intake, filename, fields } = isForm
    ? await receiveForm(ctx, blobs, limits, form)
    : await receiveRaw(ctx, blobs, limits);
  if (blob.sizeBytes !== intake.bytes || !blob.sha256.equals(intake.digest())) {
    await blobs.delete(blob.key);
    throw new UnavailableError("storage", "The upload could not be stored as it was received");
  }
  return { blob, filename, fields };
}

async function receiveRaw(ctx: AppContext, blobs: BlobStore, limits: UploadLimits): Promise<Received> {
  const arrival = new Arrival(ctx.req, limits);
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
