/** What the ledger may show of a record that could not be read: no personal values, at most 1 KB, printable. */

export const EXCERPT_MAX_BYTES = 1024;

const PERSONAL_FIELDS =
  /("(?:username|ip_addr\w*|user_agent\w*)"\s*:\s*)(?:"(?:[^"\\]|\\.)*\\?(?:"|$)|[^,}\]]*)/gi;
const IPV4 = /\b\d{1,3}(?:\.\d{1,3}){3}\b/g;
// Must not reach a terminal or a CSV file.
const CONTROL = /[\u0000-\u001f\u007f]+/g;

/** Excerpt of raw text. Works on damaged JSON too, so it goes by patterns where a parser would go by fields. */
export function rawExcerpt(text: string): string {
  return cutToBytes(
    text
      .slice(0, 4 * EXCERPT_MAX_BYTES)
      .replace(PERSONAL_FIELDS, '$1"…"')
      .replace(IPV4, "…")
      .replace(CONTROL, " "),
    EXCERPT_MAX_BYTES,
  );
}

/** Longest prefix of `text` of at most `maxBytes` in UTF-8 that ends between code points. */
export function cutToBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString("utf8", 0, end);
}
