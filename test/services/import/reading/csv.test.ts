import { Readable } from "node:stream";
import { expect } from "chai";
import { readRecords } from "../../../../services/import/reading/records.js";
import type { ImportFormat, RawRecord } from "../../../../services/import/types.js";
import { ImportError } from "../../../../services/import/verdicts.js";
import { inPieces, summary } from "./support.js";

const RECORD_MAX = 1024;

const format = (wanted: readonly string[], header = true): ImportFormat => ({
  name: "table",
  source: "lastfm",
  container: "csv",
  csv: { wanted, header },
  recognises: () => true,
  judge: () => ({ verdict: "skipped", reason: "aggregate" }),
  excerpt: () => "",
});

interface Reading {
  readonly records: readonly RawRecord[];
  readonly error: string | null;
  readonly message: string | null;
}

async function read(
  text: string | Buffer | Readable,
  over: { pieces?: number; format?: ImportFormat } = {},
): Promise<Reading> {
  const records: RawRecord[] = [];
  const options = { format: over.format ?? format(["a", "b", "c"]), recordMaxBytes: RECORD_MAX };
  try {
    const stream = text instanceof Readable ? text : inPieces(Buffer.from(text), over.pieces ?? 1 << 20);
    for await (const chunk of readRecords(stream, options)) records.push(...chunk.records);
    return { records, error: null, message: null };
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
    return { records, error: error.code, message: error.message };
  }
}

const values = async (text: string | Buffer) => summary((await read(text)).records);

describe("CSV", () => {
  it("is read by the names of the columns, in any order, with a BOM, and nothing else of it", async () => {
    const text = '\ufeffc,secret,"a"\r\n3,1.2.3.4,"x, ""y"""\r\n\r\n,,\r\n';
    expect(await values(text)).to.deep.equal([
      { a: 'x, "y"', c: "3" },
      { a: "", c: "" },
    ]);
  });

  it("may break lines with LF, CRLF, CR alone or CRLF that was made of CRLF, and within quotes", async () => {
    const wanted = [
      { a: "1", b: "2\n3", c: "Bj\u00f6rk" },
      { a: "4", b: "5", c: "6" },
    ];
    for (const line of ["\n", "\r\n", "\r", "\r\r\n"])
      expect(await values(`a,b,c${line}1,"2\n3",Bj\u00f6rk${line}4,5,6${line}`)).to.deep.equal(wanted);
    expect(await values('a,b,c\n1,"2\n3",Bj\u00f6rk\n4,5,6')).to.deep.equal(wanted);
  });

  it("may have no header", async () => {
    const headless = format(["artist", "title"], false);
    const { records } = await read("A,B\nC,D\n", { format: headless });
    expect(records).to.deep.equal([
      { position: 0, line: 1, value: { artist: "A", title: "B" } },
      { position: 1, line: 2, value: { artist: "C", title: "D" } },
    ]);
  });

  it("gives the same records wherever the bytes are cut", async () => {
    const long = "z".repeat(RECORD_MAX);
    const text = Buffer.from(
      `\ufeffa,b,c\r\n"1","q""\r\n,q",\u65e5\u672c\r\n1,2\r\n${long},2,3\r\n\r\n4, "5",6\r\n"7" ,"8"x,9\r\n10,11,"12`,
    );
    const whole = await read(text);
    expect(whole.error).to.equal("csv_unclosed_quote");
    expect(summary(whole.records).slice(0, 3)).to.deep.equal([
      { a: "1", b: 'q"\r\n,q', c: "\u65e5\u672c" },
      "column_count",
      "too_long",
    ]);
    for (let pieces = 1; pieces < 80; pieces += 1)
      expect(await read(text, { pieces }), `in pieces of ${pieces}`).to.deep.equal(whole);
  });

  it("rejects a row with too few or too many cells, or with cells that are not UTF-8, and names its line", async () => {
    const bytes = Buffer.concat([
      Buffer.from('a,b,c\n"1\n1",2,3\n1,2\n1,2,3,4\nBj'),
      Buffer.from([0xf6]),
      Buffer.from("rk,2,3\n1,2,3\n"),
    ]);
    const { records, error } = await read(bytes);
    expect(error).to.equal(null);
    expect(summary(records)).to.deep.equal([
      { a: "1\n1", b: "2", c: "3" },
      "column_count",
      "column_count",
      "encoding",
      { a: "1", b: "2", c: "3" },
    ]);
    expect(records.map(({ line }) => line)).to.deep.equal([2, 4, 5, 6, 7]);
    expect(records[1]).to.include({ message: "Line 4 has 2 cells; the header has 3", excerpt: "1,2 " });
    const some = await read("a,b,account\n1,2\n", { format: format(["a", "b"]) });
    expect(some.records[0]).to.include({ reason: "column_count", excerpt: null });
  });

  it("ends at a quoted cell that never ends, or not within a record's limit, after the rows before it", async () => {
    const rows = (count: number) => "1,2,3\n".repeat(count);
    const never = await read(`a,b,c\n${rows(499)}1,"2,3\n${rows(50)}`);
    expect(never).to.include({ error: "csv_unclosed_quote" });
    expect(never.records).to.have.length(499);
    expect(never.message).to.contain("line 501");
    const late = await read(`a,b,c\n${rows(2)}1,"2,3\n${rows(RECORD_MAX)}"\n${rows(3)}`);
    expect(late).to.include({ error: "csv_unclosed_quote" });
    expect(late.records).to.have.length(2);
  });

  it("ends where the last row breaks off; a last row that is whole needs no line break", async () => {
    expect(await read("a,b,c\n1,2,3\n1,2")).to.include({ error: "file_truncated" });
    expect(await read("a,b,c\n1,2,3")).to.include({ error: null });
    const breaking = Readable.from(
      (function* () {
        yield Buffer.from("a,b,c\n1,2,3\n1,2,3");
        throw new ImportError("entry_corrupt");
      })(),
    );
    expect(await read(breaking)).to.deep.include({
      error: "entry_corrupt",
      records: [{ position: 0, line: 2, value: { a: "1", b: "2", c: "3" } }],
    });
  });

  it("has a header without repeated names and of at most a record's length, in UTF-8", async () => {
    expect(await read("a,b,a\n1,2,3\n")).to.include({
      error: "header",
      message: "The header has two columns named a",
    });
    expect(await read("x,y,,\n1,2,3,4\n")).to.include({ error: "header" });
    expect(await read(`a,${"b".repeat(2 * RECORD_MAX)}`)).to.include({ error: "header" });
    expect(await read("")).to.include({ error: "empty_file" });
    expect(await read(Buffer.from("\ufeffa,b,c\n1,2,3\n", "utf16le"))).to.include({ error: "encoding" });
  });
});
