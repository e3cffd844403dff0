import { expect } from "chai";
import { JsonArrayScanner } from "../../../../services/import/reading/jsonArray.js";
import type { RawRecord } from "../../../../services/import/types.js";
import { ImportError } from "../../../../services/import/verdicts.js";
import { summary, generator } from "./support.js";

interface Scanned {
  readonly records: RawRecord[];
  /** Code of the ImportError it ended in, or null. */
  readonly error: string | null;
}

/** Feeds `bytes` in the given pieces, looking for records after each. */
function scan(pieces: readonly Buffer[], recordMaxBytes = 64 * 1024): Scanned {
  const scanner = new JsonArrayScanner(recordMaxBytes);
  const records: RawRecord[] = [];
  try {
    for (const piece of pieces) {
      scanner.push([piece]);
      for (const chunk of scanner.drain()) records.push(...chunk.records);
    }
    for (const chunk of scanner.finish()) records.push(...chunk.records);
    return { records, error: null };
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
    return { records, error: error.code };
  }
}

const scanText = (text: string | Buffer, recordMaxBytes?: number): Scanned =>
  scan([Buffer.from(text)], recordMaxBytes);

function cut(bytes: Buffer, size: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

/** Every kind of element, healthy and broken, in one list; with a limit of 120 bytes one is too long. */
const MIXED = Buffer.concat([
  Buffer.from('\ufeff \n[ {"a":1,"b":"x, y } ] {","c":[{"d":1},{"d":2}]} ,\r\n'),
  Buffer.from('{"t":"quote \\" backslash \\\\"},{"t":"\\\\\\" ]},{"},{"t":"héllo 音 😀"},'),
  Buffer.from('{"ts":},{"bad":"'),
  Buffer.from([0xff, 0xc3]),
  Buffer.from('"},12,"text, with ] comma",null,[[1],[2]],,{"a":1}],{"long":"'),
  Buffer.from(
    `${'\\"x\\\\'.repeat(40)}","more":{"deep":[1,2]}},{"deep":${"[".repeat(40)}${"]".repeat(40)}},`,
  ),
  Buffer.from('{"__proto__":{"x":1}}\t,{"last":true}\n]\n '),
]);

describe("cutting a JSON array into records", () => {
  it("finds every record and says what is wrong with each broken one", () => {
    const { records, error } = scanText(MIXED, 120);
    // `{"a":1}],` closes the list early for a strict reader: what follows is data after the end.
    expect(error).to.equal("entry_corrupt");
    expect(summary(records)).to.deep.equal([
      { a: 1, b: "x, y } ] {", c: [{ d: 1 }, { d: 2 }] },
      { t: 'quote " backslash \\' },
      { t: '\\" ]},{' },
      { t: "héllo 音 😀" },
      "malformed",
      "encoding",
      12,
      "text, with ] comma",
      null,
      [[1], [2]],
      "malformed",
      { a: 1 },
    ]);
  });

  it("gives the same records wherever the bytes are split", () => {
    const listed = Buffer.from(
      MIXED.toString("latin1").replace('{"a":1}],{"long"', '{"a":1},{"long"'),
      "latin1",
    );
    for (const bytes of [MIXED, listed, listed.subarray(0, -12)]) {
      const whole = JSON.stringify(scan([bytes], 120));
      for (let at = 1; at < bytes.length; at += 1) {
        const halves = scan([bytes.subarray(0, at), bytes.subarray(at)], 120);
        expect(JSON.stringify(halves), `split at ${at}`).to.equal(whole);
      }
      for (const size of [1, 2, 3, 7, 64, 121]) {
        expect(JSON.stringify(scan(cut(bytes, size), 120)), `pieces of ${size}`).to.equal(whole);
      }
    }
    const { records } = scan([listed], 120);
    expect(records.map(({ position }) => position)).to.deep.equal(records.map((_, index) => index));
    expect(summary(records).slice(12, 14)).to.deep.equal(["too_long", "too_deep"]);
    expect(records).to.have.length(16);
  });

  it("agrees with JSON.parse on random healthy lists and with itself on random damage", function () {
    this.timeout(30_000);
    const random = generator(20260101);
    for (let round = 0; round < 400; round += 1) {
      const values = Array.from({ length: Math.floor(random() * 12) }, () => randomRecord(random, 0));
      const spaces = [undefined, 1, 2, "\t"][Math.floor(random() * 4)];
      const healthy = Buffer.from(JSON.stringify(values, null, spaces));
      const pieces = cut(healthy, 1 + Math.floor(random() * 40));
      expect(scan(pieces, 600)).to.deep.equal({
        records: values.map((value, position) => ({ position, value })),
        error: null,
      });

      const damaged = Buffer.from(healthy);
      for (let blow = 0; blow < 3 && damaged.length > 2; blow += 1) {
        const at = 1 + Math.floor(random() * (damaged.length - 1));
        damaged[at] = [0x22, 0x5c, 0x7b, 0x7d, 0x5d, 0x2c, 0xff, 0x00][Math.floor(random() * 8)] ?? 0;
      }
      const whole = scan([damaged], 300);
      expect(scan(cut(damaged, 1 + Math.floor(random() * 40)), 300), `round ${round}`).to.deep.equal(whole);
      expect(scan(cut(damaged, 1), 300), `round ${round}, byte by byte`).to.deep.equal(whole);
    }
  });

  it("loses one record of a thousand to one broken record", () => {
    const parts = Array.from({ length: 1000 }, (_, n) => (n === 499 ? '{"ts":}' : `{"ts":${n}}`));
    const { records, error } = scanText(`[${parts.join(",")}]`);
    expect(error).to.equal(null);
    expect(records.filter((record) => "reason" in record)).to.deep.equal([
      {
        position: 499,
        reason: "malformed",
        message: "The record is not valid JSON",
        excerpt: '{"ts":}',
      },
    ]);
    expect(records[998]).to.deep.equal({ position: 998, value: { ts: 998 } });
    expect(records).to.have.length(1000);
  });

  it("keeps every whole record of a file that was cut short, then names the cut", () => {
    const parts = Array.from({ length: 1000 }, (_, n) => `{"ts":${n},"t":"some text"}`);
    const text = `[${parts.join(",")}]`;
    const inside700 = text.indexOf('{"ts":699') + 12;
    const { records, error } = scanText(text.slice(0, inside700));
    expect([records.length, error]).to.deep.equal([699, "file_truncated"]);
    // The last record is whole, only the bracket is missing.
    expect(scanText(text.slice(0, -1)).records).to.have.length(1000);
    expect(scanText(text.slice(0, -1)).error).to.equal("file_truncated");
    expect(scanText("[")).to.deep.equal({ records: [], error: "file_truncated" });
    expect(summary(scanText("[12").records), "a number may have gone on").to.deep.equal([]);
  });

  it("is strict about what is no list", () => {
    for (const text of ["{}", '"x"', "1", "null", "%PDF-1.7", "x[]", '{"a":[]}', " ".repeat(70_000) + "[]"]) {
      expect(scanText(text), text.slice(0, 10)).to.deep.equal({ records: [], error: "unrecognised_format" });
    }
    for (const text of ["", " \n", "\ufeff"]) expect(scanText(text).error).to.equal("empty_file");
    for (const text of ["[1] x", "[1][2]", "[1]\0"]) {
      expect(scanText(text), text).to.deep.equal({
        records: [{ position: 0, value: 1 }],
        error: "entry_corrupt",
      });
    }
    expect(scanText("[]")).to.deep.equal({ records: [], error: null });
    expect(summary(scanText("[1,]").records), "a trailing comma loses nothing").to.deep.equal([1]);
    expect(summary(scanText("[,1]").records)).to.deep.equal(["malformed", 1]);
  });

  it("takes a byte order mark of UTF-8 and refuses UTF-16 with or without one", () => {
    expect(summary(scanText("\ufeff[1]").records)).to.deep.equal([1]);
    const utf16 = Buffer.from('[{"a":1}]', "utf16le");
    expect(scan([Buffer.concat([Buffer.from([0xff, 0xfe]), utf16])]).error).to.equal("encoding");
    expect(scan([utf16]).error).to.equal("encoding");
    expect(scan([Buffer.from(utf16).swap16()]).error).to.equal("encoding");
  });

  it("bounds a record at its limit to the byte, and passes over a longer one without keeping it", () => {
    const record = (bytes: number): string => `{"t":"${"x".repeat(bytes - 8)}"}`;
    expect(summary(scanText(`[${record(1000)},1]`, 1000).records)).to.deep.equal([{ t: "x".repeat(992) }, 1]);
    expect(summary(scanText(`[${record(1001)},1]`, 1000).records)).to.deep.equal(["too_long", 1]);

    const scanner = new JsonArrayScanner(1000);
    scanner.push([Buffer.from('[{"t":"')]);
    expect([...scanner.drain()]).to.deep.equal([]);
    const before = process.memoryUsage().arrayBuffers;
    for (let megabyte = 0; megabyte < 64; megabyte += 1) {
      scanner.push([Buffer.alloc(1_050_000, "\\\\x")]);
      expect([...scanner.drain()]).to.deep.equal([]);
    }
    expect(process.memoryUsage().arrayBuffers - before).to.be.below(80 * 1024 ** 2);
    scanner.push([Buffer.from('"},{"ok":1}]')]);
    const records = [...scanner.finish()].flatMap((chunk) => chunk.records);
    expect(summary(records)).to.deep.equal(["too_long", { ok: 1 }]);
  });

  it("allows 32 levels of nesting and no more, in a long list and in a short one", () => {
    const nested = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);
    const filler = Array.from({ length: 20 }, () => '{"a":1}').join(",");
    for (const rest of ["", `,${filler}`]) {
      expect(summary(scanText(`[{"a":${nested(31)}}${rest}]`).records)[0]).to.be.an("object");
      expect(summary(scanText(`[{"a":${nested(32)}}${rest}]`).records)[0]).to.equal("too_deep");
      expect(summary(scanText(`[${nested(20_000)}${rest}]`).records)[0]).to.equal("too_deep");
    }
  });

  it("shows of a broken record what it was, without personal values", () => {
    const [record] = scanText(
      '[{"username":"jane","ip_addr": "10.1.2.3","platform":"x 10.1.2.3","user_agent_decrypted":"Moz\\"illa","ts":}]',
    ).records;
    expect(record).to.have.property("reason", "malformed");
    const excerpt = record !== undefined && "reason" in record ? record.excerpt : null;
    expect(excerpt).to.equal(
      '{"username":"…","ip_addr": "…","platform":"x …","user_agent_decrypted":"…","ts":}',
    );
    const [long] = scanText(`[{"t":"${"😀".repeat(40_000)}"}]`).records;
    const head = long !== undefined && "reason" in long ? (long.excerpt ?? "") : "";
    expect(Buffer.byteLength(head)).to.be.within(1000, 1024);
    expect(head).to.not.match(/\p{Surrogate}|\ufffd/u);
  });

  it("yields runs of at most a thousand records and says how far it has read", () => {
    const bytes = Buffer.from(`[${Array.from({ length: 5000 }, () => "{}").join(",")}]`);
    const scanner = new JsonArrayScanner(64 * 1024);
    scanner.push([bytes]);
    const chunks = [...scanner.finish()];
    expect(Math.max(...chunks.map(({ records }) => records.length))).to.be.at.most(1000);
    expect(chunks.reduce((sum, { records }) => sum + records.length, 0)).to.equal(5000);
    const read = chunks.map(({ bytesRead }) => bytesRead);
    expect(read).to.deep.equal([...read].sort((a, b) => a - b));
    expect(read.at(-1)).to.equal(bytes.length);
  });
});

function randomRecord(random: () => number, level: number): unknown {
  const kind = Math.floor(random() * (level > 2 ? 3 : 5));
  if (kind === 0) return Math.floor(random() * 1e6);
  if (kind === 1) return [null, true, false][Math.floor(random() * 3)];
  if (kind === 2) {
    const parts = ["}", "{", '"', "\\", ",", "]", "[", "a", "é", "😀", "\n", " ", "},{"];
    return Array.from(
      { length: Math.floor(random() * 8) },
      () => parts[Math.floor(random() * parts.length)],
    ).join("");
  }
  const size = Math.floor(random() * 4);
  const values = Array.from({ length: size }, () => randomRecord(random, level + 1));
  if (kind === 3) return values;
  return Object.fromEntries(values.map((value, index) => [`k${index}`, value]));
}
