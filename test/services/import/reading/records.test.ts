import { expect } from "chai";
import { Readable } from "node:stream";
import { spotifyExtended } from "../../../../services/import/formats/spotifyExtended.js";
import { readRecords } from "../../../../services/import/reading/records.js";
import type { RawRecord } from "../../../../services/import/types.js";
import { ImportError } from "../../../../services/import/verdicts.js";
import { errorOf, inPieces, summary } from "./support.js";

const options = { format: spotifyExtended, recordMaxBytes: 64 * 1024 };

async function collect(stream: Readable, into: RawRecord[], signal?: AbortSignal): Promise<void> {
  const chunks = readRecords(stream, signal === undefined ? options : { ...options, signal });
  for await (const { records } of chunks) into.push(...records);
}

const list = (length: number): Buffer =>
  Buffer.from(JSON.stringify(Array.from({ length }, (_, n) => ({ ts: n, text: "é".repeat(20) }))));

describe("reading the records of a stream", () => {
  it("gives every record once, in order, whatever the sizes of the buffers", async () => {
    const bytes = list(20_000);
    for (const size of [997, 64 * 1024, bytes.length]) {
      const records: RawRecord[] = [];
      await collect(inPieces(bytes, size), records);
      expect(records).to.have.length(20_000);
      expect(records.every(({ position }, index) => position === index)).to.equal(true);
      expect(summary(records.slice(19_999))).to.deep.equal([{ ts: 19_999, text: "é".repeat(20) }]);
    }
  });

  it("gives everything whole before it reports where the stream broke", async () => {
    const bytes = list(1000);
    async function* broken(): AsyncGenerator<Buffer> {
      yield bytes.subarray(0, bytes.length - 20);
      throw await Promise.resolve(new ImportError("entry_corrupt"));
    }
    const records: RawRecord[] = [];
    const error = await errorOf(collect(Readable.from(broken()), records));
    expect(error.code).to.equal("entry_corrupt");
    expect(records).to.have.length(999);
  });

  it("reports a file that was cut short after its whole records", async () => {
    const records: RawRecord[] = [];
    const error = await errorOf(collect(inPieces(list(1000).subarray(0, -20), 4096), records));
    expect(error.code).to.equal("file_truncated");
    expect(error.message).to.contain("999");
    expect(records).to.have.length(999);
  });

  it("stops at once when it is aborted, also while the stream stalls", async () => {
    const stalled = new Readable({ read: () => undefined });
    stalled.push(Buffer.from('[{"ts":1},'));
    const abort = new AbortController();
    setTimeout(() => {
      abort.abort(new Error("enough"));
    }, 20);
    const records: RawRecord[] = [];
    const error = await errorOf(collect(stalled, records, abort.signal));
    expect(error.message).to.equal("enough");
    expect(stalled.destroyed).to.equal(true);
  });

  it("destroys the stream when its reader leaves early", async () => {
    const stream = inPieces(list(20_000), 64 * 1024);
    for await (const { records } of readRecords(stream, options)) {
      expect(records.length).to.be.greaterThan(0);
      break;
    }
    expect(stream.destroyed).to.equal(true);
  });

  it("lets other work run while it reads one large buffer", async () => {
    const bytes = list(60_000);
    let turns = 0;
    const timer = setInterval(() => (turns += 1), 1);
    try {
      await collect(Readable.from([bytes]), []);
    } finally {
      clearInterval(timer);
    }
    expect(turns).to.be.greaterThan(2);
  });
});
