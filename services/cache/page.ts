/** A finished answer, and its form in Redis: one line that describes it, then its bytes. */
import { shortHash } from "../../utils/shortHash.js";

export type Encoding = "identity" | "gzip";

export interface Page {
  /** Of the body before it was compressed, perhaps behind a hash of a part of it and a dot; without quotes. */
  readonly etag: string;
  readonly encoding: Encoding;
  /** As it goes out. */
  readonly body: Buffer;
}

/** Without quotes. */
export const etagOf = (body: Buffer): string => shortHash(body);

/** Another form gets another number: what an older version left is then not read. */
const HEAD = /^1 ((?:[A-Za-z0-9_-]{22}\.)?[A-Za-z0-9_-]{22}) (identity|gzip) (\d{1,9})\n$/;
const HEAD_MAX_BYTES = 96;

export const encodePage = ({ etag, encoding, body }: Page): Buffer =>
  Buffer.concat([Buffer.from(`1 ${etag} ${encoding} ${body.length}\n`, "latin1"), body]);

/** Null for what is not ours or not whole. */
export function decodePage(found: Buffer): Page | null {
  const end = found.subarray(0, HEAD_MAX_BYTES).indexOf(10) + 1;
  const [, etag, encoding, length] = HEAD.exec(found.toString("latin1", 0, end)) ?? [];
  if (etag === undefined || Number(length) !== found.length - end) return null;
  return { etag, encoding: encoding as Encoding, body: found.subarray(end) };
}
