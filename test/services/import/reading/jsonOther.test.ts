import { expect } from "chai";
import { readRecords } from "../../../../services/import/reading/records.js";
import type { ImportFormat, RawRecord } from "../../../../services/import/types.js";
import { ImportError } from "../../../../services/import/verdicts.js";
import { inPieces, summary } from "./support.js";

const RECORD_MAX = 200;
const WHOLE = 1 << 20;

const format = (container: "json-lines" | "json-lists"): ImportFormat => ({
  name: "any",
  source: "lastfm",
  container,
  ...(container === "json-lists" ? { lists: ["track", "scrobbles"] } : {}),
  recognises: () => true,
  judge: () => ({ verdict: "skipped", reason: "aggregate" }),
  excerpt: () => "",
});

interface Reading {
  readonly records: readonly RawRecord[];
  readonly error: string | null;
}

async function readIn(
  container: "json-lines" | "json-lists",
  bytes: Buffer,
  pieces: number,
): Promise<Reading> {
  const records: RawRecord[] = [];
  try {
    const options = { format: format(container), recordMaxBytes: RECORD_MAX };
    for await (const chunk of readRecords(inPieces(bytes, pieces), options)) records.push(...chunk.records);
    return { records, error: null };
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
    return { records, error: error.code };
  }
}

/** The same wherever the bytes are cut. */
async function read(container: "json-lines" | "json-lists", text: string | Buffer): Promise<Reading> {
  const bytes = Buffer.from(text);
  const whole = await readIn(container, bytes, WHOLE);
  for (const pieces of [1, 2, 7]) expect(await readIn(container, bytes, pieces)).to.deep.equal(whole);
  expect(whole.records.map(({ position }) => position)).to.deep.equal(whole.records.map((_, index) => index));
  return whole;
}

const deep = (levels: number): string => `{"a":`.repeat(levels) + "1" + "}".repeat(levels);

describe("lines of JSON", () => {
  it("are records with their line, blank lines none, with a byte order mark and either kind of line break", async () => {
    const { records, error } = await read("json-lines", '\ufeff\n{"a":1}\r\n\r\n  {"a":"\\"é"}\n{"a":3}');
    expect(error).to.equal(null);
    expect(summary(records)).to.deep.equal([{ a: 1 }, { a: '"é' }, { a: 3 }]);
    expect(records.map(({ line }) => line)).to.deep.equal([2, 4, 5]);
  });

  it("are refused one by one: broken, too long, too deep, not UTF-8", async () => {
    const long = JSON.stringify({ a: "x".repeat(RECORD_MAX) });
    const bad = Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xf6]), Buffer.from('"}\n')]);
    const text = Buffer.concat([
      Buffer.from(`{"a":1}\n{"a":\n${long}\n${deep(32)}\n${deep(33)}\n`),
      bad,
      Buffer.from('{"a":2}\n'),
    ]);
    const { records, error } = await read("json-lines", text);
    expect(error).to.equal(null);
    expect(records.map((record) => ("reason" in record ? record.reason : "fine"))).to.deep.equal([
      ..."fine malformed too_long fine too_deep encoding fine".split(" "),
    ]);
    expect(records[2]).to.deep.include({ position: 2, line: 3 });
  });

  it("end in an error when the last is cut, or is longer than a record and does not end", async () => {
    const cut = await read("json-lines", '{"a":1}\n{"a":2}\n{"a"');
    expect(cut).to.deep.include({ error: "file_truncated" });
    expect(summary(cut.records)).to.deep.equal([{ a: 1 }, { a: 2 }]);
    const endless = await read("json-lines", `{"a":1}\n{"a":"${"x".repeat(1000)}`);
    expect(endless.error).to.equal("file_truncated");
    expect(endless.records).to.have.length(1);
  });

  it("are none in an empty file, a list, a text and UTF-16", async () => {
    const errorOf = async (text: string | Buffer) => (await read("json-lines", text)).error;
    expect(await errorOf(" \n\n")).to.equal("empty_file");
    expect(await errorOf("")).to.equal("empty_file");
    expect(await errorOf('[{"a":1}]')).to.equal("unrecognised_format");
    expect(await errorOf("hello")).to.equal("unrecognised_format");
    expect(await errorOf(Buffer.from('\ufeff{"a":1}', "utf16le"))).to.equal("encoding");
  });
});

describe("lists inside of a JSON document", () => {
  const values = async (text: string) => {
    const { records, error } = await read("json-lists", text);
    expect(error, text).to.equal(null);
    return summary(records);
  };

  it("are found by name in the outer levels, also several, and one element may stand for a list", async () => {
    const one = { name: 'x"}],"track":[', n: [1, { track: [2] }] };
    const item = JSON.stringify(one);
    expect(await values(`{"maloja":{"x":[1,{"y":2}]},"scrobbles":[${item}, ${item}],"z":"{"}`)).to.deep.equal(
      [one, one],
    );
    expect(
      await values(`\ufeff [ {"track":[${item}]},\n{"track":[]},{"@attr":{"n":"1"},"track":${item}} ] `),
    ).to.deep.equal([one, one]);
    expect(await values(`{"recenttracks":{"track":[${item}]}}`)).to.deep.equal([one]);
  });

  it("are not taken from values, deeper levels or names that only begin so", async () => {
    for (const text of [
      '{"a":"track","b":[1]}',
      '{"tracks":[{"a":1}]}',
      '[[[{"track":[{"a":1}]}]]]',
      '{"track":"x"}',
      "{}",
    ]) {
      expect(await read("json-lists", text), text).to.deep.equal({
        records: [],
        error: "unrecognised_format",
      });
    }
  });

  it("give one rejected record for one broken element", async () => {
    const long = JSON.stringify({ a: "x".repeat(RECORD_MAX) });
    const { records, error } = await read(
      "json-lists",
      `{"track":[{"a":1},,{"a" 2},${long},${deep(33)},{"a":3}]}`,
    );
    expect(error).to.equal(null);
    expect(records.map((record) => ("reason" in record ? record.reason : "fine"))).to.deep.equal([
      ..."fine malformed malformed too_long too_deep fine".split(" "),
    ]);
  });

  it("keep whole elements of a document that is cut, and of one with something behind it", async () => {
    const cut = await read("json-lists", '{"track":[{"a":1},{"a":2}');
    expect(cut.error).to.equal("file_truncated");
    expect(summary(cut.records)).to.deep.equal([{ a: 1 }, { a: 2 }]);
    expect(summary((await read("json-lists", '{"track":[{"a":1},{"a":')).records)).to.deep.equal([{ a: 1 }]);
    const more = await read("json-lists", '{"track":[{"a":1}]} {');
    expect(more.error).to.equal("entry_corrupt");
    expect(more.records).to.have.length(1);
    expect((await read("json-lists", "  ")).error).to.equal("empty_file");
    expect((await read("json-lists", "track,artist")).error).to.equal("unrecognised_format");
  });
});
