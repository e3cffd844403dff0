import { expect } from "chai";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { json, plays } from "../importing.js";
import { buildZip, type ZipFileSpec } from "../reading/support.js";
import { createHostileBench, type HostileBench, type Outcome } from "./support.js";

const MIB = 1024 ** 2;
const SMALL = { maxEntries: 5, unpackedMaxBytes: 4 * MIB, entryMaxBytes: 3 * MIB, maxRatio: 200 };

/** Reads nothing twice and compares all there is to an outcome at once. */
const shown = ({ status, code, parts, counts, rows }: Outcome) => ({ status, code, parts, counts, rows });

describe("hostile archives, imported", () => {
  let db: TestDatabase;
  let hostile: HostileBench;
  const kept: string[] = [];

  before(async () => {
    db = await createTestDatabase();
    hostile = await createHostileBench(db.database.pool, SMALL);
  });
  afterEach(async () => {
    const names = await hostile.spool();
    const fresh = names.filter((name) => !kept.includes(name));
    expect(fresh.every((name) => /^[0-9a-f]{32}$/.test(name))).to.equal(true, fresh.join());
    kept.push(...fresh);
  });
  after(async () => {
    await hostile.close();
    await db.drop();
  });

  const run = (files: readonly ZipFileSpec[]): Promise<Outcome> => hostile.run(buildZip(files));
  const good = (n: number): ZipFileSpec => ({ name: `good-${n}.json`, data: json(plays(3, n * 10)) });
  const nothing = { parts: [], counts: [0, 0, 0, 0, 0], rows: 0 };

  describe("with names that lead elsewhere", () => {
    const cases: readonly [string, readonly ZipFileSpec[]][] = [
      ["a name that climbs out of its folder", [good(1), { name: "../../x.json", data: json(plays(1)) }]],
      ["an absolute name", [good(1), { name: "/etc/x", data: json(plays(1)) }]],
      ["a name with NUL", [good(1), { name: "a\0.json", data: json(plays(1)) }]],
      ["one name twice", [good(1), good(2), { ...good(3), name: "good-1.json" }]],
    ];
    for (const [what, files] of cases) {
      it(`refuses ${what} and writes nothing anywhere`, async () => {
        const around = async () => [
          ...(await readdir(path.dirname(hostile.bench.spoolDir))).filter((name) => name.endsWith(".json")),
          ...(await readdir("/etc")).filter((name) => name === "x"),
          ...(await readdir(tmpdir())).filter((name) => name === "x.json"),
        ];
        const before = await around();
        const outcome = await run(files);
        expect(shown(outcome)).to.deep.equal({ status: "failed", code: "unsafe_archive", ...nothing });
        expect(await around()).to.deep.equal(before);
      });
    }

    it("takes names that only look like it", async () => {
      const outcome = await run([
        { ...good(1), name: "a/..b/..json" },
        { ...good(2), name: "Good-1.json" },
        { ...good(3), name: "good-1.json" },
      ]);
      expect(shown(outcome)).to.deep.include({ status: "completed", code: null, counts: [9, 9, 0, 0, 0] });
    });
  });

  describe("larger than a limit", () => {
    it("refuses the file that unpacks to a thousand times its size, before unpacking it, and imports the others", async () => {
      const bomb = { name: "bomb.json", data: Buffer.alloc(2 * MIB, "A") };
      const outcome = await run([bomb, good(1)]);
      expect(shown(outcome)).to.deep.equal({
        status: "completed_with_errors",
        code: null,
        parts: ["bomb.json: failed archive_limit", "good-1.json: done"],
        counts: [3, 3, 0, 0, 0],
        rows: 3,
      });
      expect(outcome.messages[0]).to.equal(
        "The file unpacks to more than 200 times its packed size, which is the limit",
      );

      const alone = await run([bomb]);
      expect(shown(alone)).to.deep.include({ status: "failed", code: "archive_limit" });
      expect(alone.message).to.contain("200");
    });

    it("takes as many entries as the limit says, and refuses one more", async () => {
      const files = Array.from({ length: SMALL.maxEntries }, (_, n) => good(n));
      expect(shown(await run(files))).to.deep.include({ status: "completed", counts: [15, 15, 0, 0, 0] });
      const outcome = await run([...files, good(9)]);
      expect(shown(outcome)).to.deep.equal({ status: "failed", code: "archive_limit", ...nothing });
      expect(outcome.message).to.equal("The archive has 6 entries; the limit is 5");
    });

    it("takes as many bytes in all as the limit says, and refuses one more", async () => {
      const filler = (n: number, bytes: number): ZipFileSpec => ({
        name: `${n}.bin`,
        data: Buffer.alloc(bytes, n),
        stored: true,
      });
      const first = good(1);
      const left = SMALL.unpackedMaxBytes - Buffer.from(first.data ?? "").length - 2 * MIB;
      const fits = await run([first, filler(1, 2 * MIB), filler(2, left)]);
      expect(shown(fits)).to.deep.include({ status: "completed", counts: [3, 3, 0, 0, 0] });
      const outcome = await run([first, filler(1, 2 * MIB), filler(2, left + 1)]);
      expect(shown(outcome)).to.deep.equal({ status: "failed", code: "archive_limit", ...nothing });
      expect(outcome.message).to.equal("The archive unpacks to 4194305 bytes; the limit is 4194304");
    });

    it("takes a file of just the size that one may have, and refuses one byte more", async () => {
      const sized = (bytes: number): ZipFileSpec => {
        const list = json(plays(3)).toString();
        return {
          name: "sized.json",
          stored: true,
          data: " ".repeat(60_000) + list + " ".repeat(bytes - 60_000 - list.length),
        };
      };
      expect(shown(await run([sized(SMALL.entryMaxBytes), good(1)]))).to.deep.include({
        status: "completed",
        counts: [6, 6, 0, 0, 0],
      });
      const outcome = await run([sized(SMALL.entryMaxBytes + 1), good(1)]);
      expect(outcome.parts).to.deep.equal(["sized.json: failed archive_limit", "good-1.json: done"]);
      expect(outcome.messages[0]).to.equal("The file unpacks to 3145729 bytes; the limit is 3145728");
    });

    it("refuses entries that share one body", async () => {
      const body: ZipFileSpec = { name: "0.json", data: json(plays(3)) };
      const sharing = Array.from({ length: 4 }, (_, n) => ({
        ...body,
        name: `${n + 1}.json`,
        sameBodyAs: 0,
      }));
      const outcome = await run([body, ...sharing]);
      expect(shown(outcome)).to.deep.equal({ status: "failed", code: "archive_limit", ...nothing });
      expect(outcome.message).to.contain("shares bytes");
    });
  });

  it("fails the files that lie about themselves or cannot be read, and imports the others", async () => {
    const data = json(plays(200));
    const outcome = await run([
      { name: "size.json", data, unpackedBytes: 10 },
      { name: "crc.json", data, crc: 1 },
      { name: "method.json", data, method: 99 },
      { name: "locked.json", data, flags: 0x801 },
      good(90),
    ]);
    expect(outcome.parts).to.deep.equal([
      // Ten bytes of a record are no record, and the eleventh gives the lie away.
      "size.json: failed entry_corrupt",
      "crc.json: failed entry_corrupt",
      "method.json: failed entry_unsupported",
      "locked.json: failed encrypted",
      "good-90.json: done",
    ]);
    expect(outcome.status).to.equal("completed_with_errors");
    // The rows of the file with a wrong checksum are there: what is whole is kept, and the error says what it is worth.
    expect(outcome.counts).to.deep.equal([203, 203, 0, 0, 0]);
    expect(outcome.rows).to.equal(203);
  });

  it("reads no link, and passes over what macOS adds", async () => {
    const outcome = await run([
      { name: "link.json", data: "/etc/passwd", stored: true, unixMode: 0o120777 },
      { name: "__MACOSX/._good-1.json", data: json(plays(5, 500)) },
      { name: "x/.DS_Store", data: json(plays(5, 600)) },
      good(1),
    ]);
    expect(shown(outcome)).to.deep.equal({
      status: "completed_with_errors",
      code: null,
      parts: ["link.json: failed entry_unsupported", "good-1.json: done"],
      counts: [3, 3, 0, 0, 0],
      rows: 3,
    });
  });

  it("refuses an archive that was cut short, one without entries and one without history, and takes one with junk in front", async () => {
    const zip = buildZip([good(1)]);
    expect(shown(await hostile.run(zip.subarray(0, -30)))).to.deep.equal({
      status: "failed",
      code: "not_a_zip",
      ...nothing,
    });
    expect(shown(await hostile.run(buildZip([])))).to.deep.equal({
      status: "failed",
      code: "no_known_files",
      ...nothing,
    });
    expect(shown(await run([{ name: "a.txt", data: "hello" }]))).to.deep.equal({
      status: "failed",
      code: "no_known_files",
      ...nothing,
      parts: ["a.txt: skipped unrecognised_format"],
    });
    const junk = await hostile.run(Buffer.concat([Buffer.from("7 bytes"), zip]));
    expect(shown(junk)).to.deep.equal({
      status: "completed",
      code: null,
      parts: ["good-1.json: done"],
      counts: [3, 3, 0, 0, 0],
      rows: 3,
    });
  });
});
