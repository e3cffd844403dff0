import { expect } from "chai";
import type { Upload, UploadEntry } from "../../../../services/import/reading/upload.js";
import {
  LIMITS,
  buildZip,
  memoryBlob,
  memoryNested,
  openUpload,
  readAll,
  type ZipFileSpec,
} from "./support.js";

async function filesOf(upload: Upload): Promise<UploadEntry[]> {
  const files: UploadEntry[] = [];
  for await (const entry of upload.entries()) files.push(entry);
  return files;
}

const open = (files: readonly ZipFileSpec[], limits = LIMITS, nested = memoryNested()): Promise<Upload> =>
  openUpload(memoryBlob(buildZip(files)), null, limits, nested);

const json = (name: string, content = "[1]"): ZipFileSpec => ({ name, data: content });
const zip = (name: string, files: readonly ZipFileSpec[]): ZipFileSpec => ({ name, data: buildZip(files) });

/** `levels` archives around one file: 1 is an ordinary archive. */
function nestedDeep(levels: number): ZipFileSpec[] {
  let files: ZipFileSpec[] = [json("deep.json")];
  for (let level = 1; level < levels; level += 1) files = [zip(`${level}`, files)];
  return files;
}

describe("archives inside archives", () => {
  it("are known by content, and their files are named after all that is around them", async () => {
    const upload = await open([
      json("first.json"),
      zip("outer.zip", [
        json("inner/file.json", "[2]"),
        zip("no ending", [json("x.json", "[3]")]),
        json("y.json", "[4]"),
      ]),
      json("not.zip", "[5]"),
      zip("second.zip", [{ name: "__MACOSX/x" }, json("z.json", "[6]")]),
    ]);
    const found = [];
    for (const entry of await filesOf(upload))
      found.push([entry.index, entry.name, (await readAll(await entry.open())).toString()]);
    expect(found).to.deep.equal([
      [0, "first.json", "[1]"],
      [2, "not.zip", "[5]"],
      [4, "outer.zip/inner/file.json", "[2]"],
      [6, "outer.zip/y.json", "[4]"],
      [8, "second.zip/z.json", "[6]"],
      [9, "outer.zip/no ending/x.json", "[3]"],
    ]);
  });

  it("are unpacked once, also when the files in them are asked for one by one, and leave nothing open", async () => {
    const nested = memoryNested();
    const files = Array.from({ length: 30 }, (_, n) => json(`${n}.json`, `[${n}]`));
    const upload = await open([zip("a.zip", [zip("b.zip", files)])], LIMITS, nested);
    for (let n = 0; n < 30; n += 1) {
      const entry = await upload.entry(2 + n);
      expect((await readAll(await entry.open())).toString()).to.equal(`[${n}]`);
    }
    expect(nested.unpacked).to.deep.equal([0, 1]);
    expect(nested.readers.every(({ closed }) => closed)).to.equal(true);
  });

  it("close what they hold open when a stream is left early", async () => {
    const nested = memoryNested();
    const big = "[" + "1,".repeat(200_000) + "1]";
    const upload = await open([zip("a.zip", [{ ...json("big.json", big), stored: true }])], LIMITS, nested);
    const stream = await (await upload.entry(1)).open();
    const closed = new Promise((resolve) => stream.once("close", resolve));
    for await (const piece of stream as AsyncIterable<Buffer>) {
      expect(piece.length).to.be.above(0);
      break;
    }
    await closed;
    expect(nested.readers.every(({ closed }) => closed)).to.equal(true);
  });

  it("are opened as deep as the limit says and no deeper", async () => {
    for (const maxDepth of [1, 2, 4]) {
      const limits = { ...LIMITS, maxDepth };
      const [fits] = await filesOf(await open(nestedDeep(maxDepth), limits));
      expect(fits?.problem).to.equal(null);
      expect(fits?.name).to.match(/(^|\/)deep\.json$/);
      const [deeper] = await filesOf(await open(nestedDeep(maxDepth + 1), limits));
      expect(deeper?.problem).to.deep.equal({
        code: "archive_limit",
        message: `The archive is nested ${maxDepth + 1} deep; the limit is ${maxDepth}`,
      });
    }
  });

  it("count with all the others: entries", async () => {
    const files = [
      json("0.json"),
      zip("a.zip", [json("1"), json("2")]),
      zip("b.zip", [json("3"), json("4")]),
    ];
    const names = async (maxEntries: number) =>
      (await filesOf(await open(files, { ...LIMITS, maxEntries }))).map(({ name, problem }) => [
        name,
        problem?.message ?? null,
      ]);
    const all = [
      ["0.json", null],
      ["a.zip/1", null],
      ["a.zip/2", null],
      ["b.zip/3", null],
      ["b.zip/4", null],
    ];
    expect(await names(7)).to.deep.equal(all);
    expect(await names(6)).to.deep.equal([
      all[0],
      ["b.zip", "The upload has 7 entries with this archive; the limit is 6"],
      all[1],
      all[2],
    ]);
  });

  it("count with all the others: bytes, and one that claims too many is not even unpacked", async () => {
    const inner = buildZip([{ name: "x", data: "y".repeat(1000) }]);
    const files = [{ name: "a.zip", data: inner }];
    const problem = async (unpackedMaxBytes: number) =>
      (await filesOf(await open(files, { ...LIMITS, unpackedMaxBytes }))).map(
        (entry) => entry.problem?.message,
      );
    const total = inner.length + 1000;
    expect(await problem(total)).to.deep.equal([undefined]);
    expect(await problem(total - 1)).to.deep.equal([
      `The upload unpacks to ${total} bytes with this archive; the limit is ${total - 1}`,
    ]);
    const nested = memoryNested();
    const [entry] = await filesOf(await open(files, { ...LIMITS, entryMaxBytes: inner.length - 1 }, nested));
    expect(entry?.problem?.code).to.equal("archive_limit");
    expect(nested.unpacked).to.deep.equal([]);
  });

  it("fail alone when they are damaged, unsafe or locked", async () => {
    const cut = buildZip([json("a.json")]).subarray(0, -10);
    const upload = await open([
      json("good.json"),
      { name: "cut.zip", data: cut },
      zip("unsafe.zip", [json("../x.json")]),
      { name: "crc.zip", data: buildZip([json("b.json")]), crc: 1 },
      { ...zip("locked.zip", [json("c.json")]), flags: 0x801 },
      zip("inside.zip", [{ ...json("d.json"), flags: 0x801 }, json("e.json")]),
      { name: "only the first bytes", data: "PK\u0003\u0004 is how it begins" },
    ]);
    expect((await filesOf(upload)).map(({ name, problem }) => [name, problem?.code ?? null])).to.deep.equal([
      ["good.json", null],
      ["cut.zip", "not_a_zip"],
      ["unsafe.zip", "unsafe_archive"],
      ["crc.zip", "entry_corrupt"],
      ["locked.zip", "encrypted"],
      ["only the first bytes", "not_a_zip"],
      ["inside.zip/d.json", "encrypted"],
      ["inside.zip/e.json", null],
    ]);
  });

  it("read no more of each file than its first bytes to find them", async () => {
    const files = Array.from({ length: 50 }, (_, n) => ({
      name: `${n}`,
      data: Buffer.alloc(200_000, n),
      stored: true,
    }));
    const blob = memoryBlob(buildZip(files));
    await openUpload(blob, null, LIMITS);
    expect(blob.bytesRead).to.be.below(400_000);
  });
});
