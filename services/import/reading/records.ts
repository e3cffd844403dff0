/** From the bytes of one file to its records, a moderate run at a time. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { addAbortSignal, type Readable } from "node:stream";
import type { ImportFormat, RawRecord, RecordChunk } from "../types.js";
import { CsvScanner } from "./csv.js";
import { HtmlCellScanner } from "./htmlCells.js";
import { JsonArrayScanner } from "./jsonArray.js";
import { JsonLinesScanner } from "./jsonLines.js";
import { JsonListsScanner } from "./jsonLists.js";

/** Bytes gathered before they are looked at: few copies, and still little to hold. */
const GATHER_BYTES = 256 * 1024;
const EXPANDED_RECORDS = 1000;
/** Longest time between two turns of the event loop. */
const TURN_MS = 10;

export interface ReadRecordsOptions {
  readonly format: ImportFormat;
  readonly recordMaxBytes: number;
  readonly signal?: AbortSignal;
}

/**
 * Yields every record of a file in order, each with its 0-based position; the same records whatever the sizes of
 * the buffers that arrive. A record that cannot be read comes with a reason in place of a value.
 *
 * Throws ImportError after everything whole was yielded: `file_truncated`, `entry_corrupt` (damaged archive
 * entry, data after the end), `archive_limit`; at once: `unrecognised_format`, `encoding`, `empty_file`. Errors of the stream itself
 * come through as they are. The stream is destroyed in every case.
 */
export function readRecords(stream: Readable, options: ReadRecordsOptions): AsyncGenerator<RecordChunk> {
  const { expand } = options.format;
  const records = recordsOf(stream, options);
  return expand === undefined ? records : expanded(records, expand);
}

/** Runs stay short, however many records one of the file stands for. */
async function* expanded(
  chunks: AsyncIterable<RecordChunk>,
  expand: (record: unknown) => Iterable<unknown>,
): AsyncGenerator<RecordChunk> {
  let position = 0;
  for await (const { records, bytesRead } of chunks) {
    let run: RawRecord[] = [];
    for (const record of records) {
      for (const value of "reason" in record ? [undefined] : expand(record.value)) {
        run.push("reason" in record ? { ...record, position } : { ...record, position, value });
        position += 1;
        if (run.length < EXPANDED_RECORDS) continue;
        yield { records: run, bytesRead };
        run = [];
      }
    }
    yield { records: run, bytesRead };
  }
}

function recordsOf(stream: Readable, options: ReadRecordsOptions): AsyncGenerator<RecordChunk> {
  switch (options.format.container) {
    case "json-array":
      return scanJsonArray(stream, options.recordMaxBytes, options.signal);
    case "json-lines":
      return scanJsonLines(stream, options.recordMaxBytes, options.signal);
    case "json-lists":
      return scanJsonLists(stream, options.format.lists ?? [], options.recordMaxBytes, options.signal);
    case "html-cells":
      return scanHtmlCells(stream, options.recordMaxBytes, options.signal);
    case "csv": {
      const { csv, name } = options.format;
      if (csv === undefined) throw new TypeError(`${name} does not say which columns it reads`);
      return scan(stream, new CsvScanner(csv, options.recordMaxBytes), options.signal);
    }
  }
}

/** Cuts what was pushed into records; `drain` and `finish` must be exhausted before the next call. */
interface RecordScanner {
  /** False while the next bytes may tell that the file is none of this kind. */
  readonly opened: boolean;
  push(pieces: readonly Buffer[]): void;
  drain(): Iterable<RecordChunk>;
  finish(): Iterable<RecordChunk>;
  /** In place of `finish`, when the bytes break off; absent where `finish` sees by itself that they do. */
  whole?(): Iterable<RecordChunk>;
}

export function scanJsonArray(
  stream: Readable,
  recordMaxBytes: number,
  signal?: AbortSignal,
): AsyncGenerator<RecordChunk> {
  return scan(stream, new JsonArrayScanner(recordMaxBytes), signal);
}

export function scanJsonLines(
  stream: Readable,
  recordMaxBytes: number,
  signal?: AbortSignal,
): AsyncGenerator<RecordChunk> {
  return scan(stream, new JsonLinesScanner(recordMaxBytes), signal);
}

/** `lists`: what the lists that hold records are called. */
export function scanJsonLists(
  stream: Readable,
  lists: readonly string[],
  recordMaxBytes: number,
  signal?: AbortSignal,
): AsyncGenerator<RecordChunk> {
  return scan(stream, new JsonListsScanner(lists, recordMaxBytes), signal);
}

export function scanHtmlCells(
  stream: Readable,
  recordMaxBytes: number,
  signal?: AbortSignal,
): AsyncGenerator<RecordChunk> {
  return scan(stream, new HtmlCellScanner(recordMaxBytes), signal);
}

async function* scan(
  stream: Readable,
  scanner: RecordScanner,
  signal?: AbortSignal,
): AsyncGenerator<RecordChunk> {
  if (signal !== undefined) addAbortSignal(signal, stream);
  const bytes = stream[Symbol.asyncIterator]();
  let turnAt = performance.now();
  const share = async (): Promise<void> => {
    signal?.throwIfAborted();
    if (performance.now() - turnAt < TURN_MS) return;
    await nextTurn();
    turnAt = performance.now();
  };

  try {
    for (;;) {
      const { pieces, over, failure } = await gather(bytes, scanner);
      signal?.throwIfAborted();
      scanner.push(pieces);
      if (failure !== null) {
        yield* wholeRecords(scanner);
        throw failure.error;
      }
      for (const chunk of over ? scanner.finish() : scanner.drain()) {
        yield chunk;
        await share();
      }
      if (over) return;
      await share();
    }
  } finally {
    stream.destroy();
  }
}

interface Gathered {
  readonly pieces: Buffer[];
  readonly over: boolean;
  readonly failure: { readonly error: unknown } | null;
}

/** Before the opening bracket each buffer is looked at when it comes, so that a wrong file is read no further. */
async function gather(bytes: AsyncIterator<Buffer>, scanner: RecordScanner): Promise<Gathered> {
  const pieces: Buffer[] = [];
  let size = 0;
  while (size < (scanner.opened ? GATHER_BYTES : 1)) {
    try {
      const next = await bytes.next();
      if (next.done === true) return { pieces, over: true, failure: null };
      pieces.push(next.value);
      size += next.value.length;
    } catch (error) {
      return { pieces, over: false, failure: { error } };
    }
  }
  return { pieces, over: false, failure: null };
}

/** What is whole before an unreadable place; the error of the unreadable place is the one to report. */
function* wholeRecords(scanner: RecordScanner): Generator<RecordChunk> {
  try {
    yield* scanner.whole === undefined ? scanner.finish() : scanner.whole();
  } catch {
    return;
  }
}
