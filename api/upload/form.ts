/**
 * Uploads as multipart/form-data: one file under the name `file`, options as other fields.
 *
 * koa-body (formidable inside) takes the form apart, but nothing of the file touches its disk path, which
 * answers with success when the disk is full. It also has no limit on the headers of a part and forgets files
 * past the allowed number on disk, so parts are judged here before it handles them.
 */
import { once } from "node:events";
import { Writable } from "node:stream";
import { koaBody } from "koa-body";
import type { KoaBodyMiddlewareOptions } from "koa-body";
import type Koa from "koa";
import type { BlobStore, StoredBlob } from "../../services/storage/BlobStore.js";
import {
  AppError,
  PayloadTooLargeError,
  UnsupportedMediaTypeError,
  ValidationError,
} from "../../utils/errors.js";
import type { AppContext } from "../types.js";
import { Arrival } from "./arrival.js";
import { FileIntake } from "./intake.js";
import type { Received, UploadLimits } from "./types.js";

const FILE_FIELD = "file";
/** Stands for the type of a file that comes without one; what it is, its bytes say. */
const UNTYPED = "application/octet-stream";
const MAX_FIELDS = 10;
const MAX_FIELDS_BYTES = 4096;
/** Everything that is not the file: boundaries, headers of parts, fields. Counted a little late, hence generous. */
export const FORM_MAX_BYTES = 1024 ** 2;

type Part = Parameters<NonNullable<NonNullable<KoaBodyMiddlewareOptions["formidable"]>["onPart"]>>[0];

/** 413: more than one file in a form. */
class TooManyFilesError extends AppError {
  readonly status = 413;
  constructor() {
    super("too_many_files", "A form carries one file, under the name `file`");
  }
}

/** `fieldNames`: of the fields beside the file. */
export async function receiveForm(
  ctx: AppContext,
  blobs: BlobStore,
  limits: UploadLimits,
  fieldNames: readonly string[],
): Promise<Received> {
  if (ctx.get("Content-Encoding") !== "") {
    throw new UnsupportedMediaTypeError("A form cannot have a Content-Encoding");
  }
  const form = new Form(ctx, blobs, limits, fieldNames);
  try {
    await form.parse();
    return await form.finish();
  } catch (error) {
    await form.discard();
    throw form.reason(error);
  }
}

class Form {
  readonly #ctx: AppContext;
  readonly #blobs: BlobStore;
  readonly #limits: UploadLimits;
  readonly #fieldNames: readonly string[];
  readonly #intake = new FileIntake();
  readonly #arrival: Arrival;
  readonly #stop = new AbortController();
  #filename: string | null = null;
  #fileSeen = false;
  #storing: Promise<StoredBlob> | undefined;

  constructor(ctx: AppContext, blobs: BlobStore, limits: UploadLimits, fieldNames: readonly string[]) {
    this.#ctx = ctx;
    this.#blobs = blobs;
    this.#limits = limits;
    this.#fieldNames = fieldNames;
    this.#intake.on("error", () => {}); // reaches us through the parser or through the store
    this.#arrival = new Arrival(
      ctx.req,
      { ...limits, maxBytes: limits.maxBytes + FORM_MAX_BYTES },
      (received) =>
        received - this.#intake.bytes > FORM_MAX_BYTES
          ? new PayloadTooLargeError(FORM_MAX_BYTES, "form around the file")
          : (limits.refuse?.(this.#intake.bytes) ?? null),
      // formidable goes on reading after the first of many writes, however many are still waiting.
      () => (this.#intake.writableNeedDrain ? once(this.#intake, "drain") : null),
    );
    this.#arrival.on("error", (error) => this.#stop.abort(error));
  }

  async parse(): Promise<void> {
    const parse = koaBody({
      multipart: true,
      json: false,
      text: false,
      urlencoded: false,
      patchNode: false,
      formidable: {
        maxFields: MAX_FIELDS,
        maxFieldsSize: MAX_FIELDS_BYTES,
        maxFiles: 1,
        maxFileSize: this.#limits.maxBytes,
        allowEmptyFiles: true, // the intake has its own answer to that
        minFileSize: 0,
        onPart: (part, handle) => this.#onPart(part, handle),
        fileWriteStreamHandler: () => this.#openFile(),
      },
    });
    // koa-body reads the body from `ctx.req` and everything else through `ctx.request`.
    const view = Object.create(this.#ctx, { req: { value: this.#arrival } }) as Koa.Context;
    await parse(view, () => Promise.resolve());
  }

  async finish(): Promise<Received> {
    if (this.#storing === undefined) {
      const message = "The form has no file under the name `file`";
      throw new ValidationError(message, [{ path: FILE_FIELD, code: "required", message }]);
    }
    const fields = this.#fields();
    return { blob: await this.#storing, intake: this.#intake, filename: this.#filename, fields };
  }

  /** Leaves nothing behind: neither a stream that waits nor a stored file. */
  async discard(): Promise<void> {
    this.#arrival.destroy();
    this.#intake.destroy(new Error("The upload was given up"));
    const stored = await this.#storing?.catch(() => undefined);
    if (stored !== undefined) await this.#blobs.delete(stored.key);
  }

  /** The first of the reasons, in the order of what the client can do about it. */
  reason(error: unknown): unknown {
    const stopped: unknown = this.#stop.signal.reason;
    if (stopped instanceof AppError) return stopped;
    if (error instanceof AppError) return error;
    return formError(error, this.#limits);
  }

  #onPart(part: Part, handle: (part: Part) => void): void {
    const refusal = this.#judge(part);
    if (refusal === null) {
      // formidable tells files from fields by the type alone, and holds a field in memory. A file need not have a type.
      part.mimetype = part.name === FILE_FIELD ? part.mimetype || UNTYPED : null;
      handle(part);
    } else {
      this.#fail(refusal);
    }
  }

  #fail(reason: Error): void {
    this.#stop.abort(reason);
    this.#arrival.destroy(reason);
  }

  #judge(part: Part): AppError | null {
    const { name, originalFilename } = part;
    const isFile = name === FILE_FIELD || originalFilename !== null;
    if (isFile && this.#fileSeen) return new TooManyFilesError();
    if (name === FILE_FIELD) {
      if (!part.mimetype && originalFilename === null) {
        return badField(FILE_FIELD, "not_a_file", "The part `file` has neither a file name nor a type");
      }
      if ("transferEncoding" in part && part.transferEncoding === "base64") {
        return badField(FILE_FIELD, "transfer_encoding", "The file must be sent as it is, not as base64");
      }
      this.#fileSeen = true;
      this.#filename = originalFilename;
      return null;
    }
    if (name === null || originalFilename !== null || !this.#fieldNames.includes(name)) {
      return badField((name ?? "").slice(0, 100), "unknown", "The form has a field that is not known here");
    }
    return null;
  }

  #openFile(): Writable {
    if (this.#storing !== undefined || this.#stop.signal.aborted) return new Nowhere();
    this.#storing = this.#blobs.put(this.#intake, {
      maxBytes: this.#limits.maxBytes,
      signal: this.#stop.signal,
    });
    this.#storing.catch((error: unknown) => {
      this.#fail(error instanceof Error ? error : new Error("Storing failed", { cause: error }));
    });
    return this.#intake;
  }

  #fields(): Readonly<Record<string, string>> {
    const { request } = this.#ctx;
    const body: unknown = "body" in request ? request.body : {};
    const fields: Record<string, string> = {};
    for (const [name, value] of Object.entries(body ?? {}) as [string, unknown][]) {
      if (typeof value !== "string")
        throw badField(name, "repeated", `The field ${name} is there more than once`);
      fields[name] = value;
    }
    return fields;
  }
}

/** For a file that must not be kept. */
class Nowhere extends Writable {
  override _write(_chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    done();
  }
}

function badField(path: string, code: string, message: string): ValidationError {
  return new ValidationError(message, [{ path, code, message }]);
}

/** formidable's own refusals: too large, too many fields, no boundary, cut short. */
function formError(error: unknown, limits: UploadLimits): unknown {
  if (!(error instanceof Error) || !("httpCode" in error)) return error;
  if (error.httpCode === 413) return new PayloadTooLargeError(limits.maxBytes, "form");
  const message = "The form cannot be read, or was cut short";
  return new ValidationError(message, [{ path: "", code: "malformed_form", message }], "malformed_form");
}
