/** Bodies of type multipart/form-data, written byte by byte so that they can also be wrong. */
export interface FormPart {
  readonly name: string;
  readonly filename?: string;
  readonly type?: string;
  readonly headers?: readonly string[];
  readonly body: Buffer | string;
}

const BOUNDARY = "playlog-test-boundary-5f1c";

export const formType = `multipart/form-data; boundary=${BOUNDARY}`;

/** `end: false` leaves out the closing boundary. */
export function formBody(parts: readonly FormPart[], { end = true } = {}): Buffer {
  const pieces = parts.flatMap(({ name, filename, type, headers = [], body }) => [
    [
      `--${BOUNDARY}`,
      `Content-Disposition: form-data; name="${name}"${filename === undefined ? "" : `; filename="${filename}"`}`,
      ...(type === undefined ? [] : [`Content-Type: ${type}`]),
      ...headers,
      "",
      "",
    ].join("\r\n"),
    body,
    "\r\n",
  ]);
  return Buffer.concat(
    [...pieces, ...(end ? [`--${BOUNDARY}--\r\n`] : [])].map((piece) => Buffer.from(piece)),
  );
}
