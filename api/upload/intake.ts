/** The bytes of one uploaded file between the wire and the blob store: looked at, counted and hashed. */
import { createHash } from "node:crypto";
import { Transform } from "node:stream";
import type { TransformCallback } from "node:stream";
import { UnsupportedMediaTypeError, ValidationError } from "../../utils/errors.js";
import { kindOf, SAMPLE_BYTES } from "./sniff.js";

/** Passes nothing on before the first bytes show that it can be a history; fails with the error to answer. */
export class FileIntake extends Transform {
  readonly #hash = createHash("sha256");
  #held: Buffer[] | null = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** SHA-256 of all bytes; call it once, after the end. */
  digest(): Buffer {
    return this.#hash.digest();
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#bytes += chunk.length;
    this.#hash.update(chunk);
    if (this.#held === null) return done(null, chunk);
    this.#held.push(chunk);
    if (this.#bytes < SAMPLE_BYTES) return done();
    this.#release(done);
  }

  override _flush(done: TransformCallback): void {
    if (this.#held === null) done();
    else this.#release(done);
  }

  #release(done: TransformCallback): void {
    const beginning = Buffer.concat(this.#held ?? []);
    this.#held = null;
    if (beginning.length === 0) {
      const message = "The file is empty";
      done(new ValidationError(message, [{ path: "file", code: "empty_file", message }], "empty_file"));
    } else if (kindOf(beginning.subarray(0, SAMPLE_BYTES)) === "other") {
      done(new UnsupportedMediaTypeError("The file is no ZIP or tar archive, no gzip file and no text"));
    } else {
      done(null, beginning);
    }
  }
}
