import { expect } from "chai";
import { gzipSync } from "node:zlib";
import { pack, type Header } from "tar-stream";
import type { Upload, UploadEntry } from "../../../../services/import/reading/upload.js";
import { rejection } from "../../../support/rejection.js";
import { buildZip, LIMITS, memoryBlob, memoryNested, openUpload, readAll } from "./support.js";

interface TarFile extends Pick<Header, "name"> {
  readonly type?: "directory" | "symlink";
  readonly linkname?: string;
  readonly data?: string | Buffer;
}

async function tar(files: readonly TarFile[]): Promise<Buffer> {
  const packing = pack();
  const packed = readAll(packing as never);
  for (const { data = "", ...header } of files) packing.entry(header, data);
  packing.finalize();
  return packed;
}

const tgz = async (files: readonly TarFile[]): Promise<Buffer> => gzipSync(await tar(files));

async function filesOf(upload: Upload): Promise<UploadEntry[]> {
  const files: UploadEntry[] = [];
  for await (const entry of upload.entries()) files.push(entry);
  return files;
}

const open = (bytes: Buffer, name: string | null = "takeout.tgz", limits = LIMITS): Promise<Upload> =>
  openUpload(memoryBlob(bytes), name, limits, memoryNested());

async function contents(upload: Upload): Promise<unknown[]> {
  const found = [];
  for (const entry of await filesOf(upload))
    found.push([
      entry.index,
      entry.name,
      entry.problem?.code ?? (await readAll(await entry.open())).toString(),
    ]);
  return found;
}

/** The one thing that is wrong with an upload that is not read. */
async function problemOf(bytes: Buffer, limits = LIMITS): Promise<string | undefined> {
  const files = await filesOf(await open(bytes, null, limits));
  expect(files).to.have.length(1);
  return files[0]?.problem?.code;
}

describe("tar archives", () => {
  it("packed with gzip are opened by content, with long names, folders and links told apart", async () => {
    const long = `${"Takeout/YouTube und YouTube Music/".repeat(6)}Wiedergabeverlauf – ä.json`;
    const upload = await open(
      await tgz([
        { name: "./Takeout/", type: "directory" },
        { name: "./Takeout/a.json", data: "[1]" },
        { name: long, data: "[2]" },
        { name: "Takeout/link", type: "symlink", linkname: "/etc/passwd" },
        { name: "Takeout/.DS_Store", data: "x" },
        { name: "Takeout/empty.json" },
      ]),
      "export.tar.gz",
    );
    expect(upload.kind).to.equal("archive");
    expect(await contents(upload)).to.deep.equal([
      [2, "export.tar/Takeout/a.json", "[1]"],
      [3, `export.tar/${long}`, "[2]"],
      [4, "export.tar/Takeout/link", "entry_unsupported"],
      [6, "export.tar/Takeout/empty.json", ""],
    ]);
  });

  it("that are not packed are opened by content as well, whatever their last file looks like", async () => {
    const inner = buildZip([{ name: "deep.json", data: "[2]" }]);
    const bytes = await tar([
      { name: "Takeout/", type: "directory" },
      { name: "Takeout/a.json", data: "[1]" },
      { name: "last.zip", data: inner },
    ]);
    for (const name of ["export.tar", "export.json", null]) {
      const upload = await open(bytes, name);
      expect(upload.kind).to.equal("archive");
      expect(await contents(upload)).to.deep.equal([
        [1, "Takeout/a.json", "[1]"],
        [3, "last.zip/deep.json", "[2]"],
      ]);
    }
    const single = await open(await tar([{ name: "a.json", data: "[1]" }]));
    expect(single.kind, "also with one file").to.equal("archive");
    for (const [broken, code] of [
      [bytes.subarray(0, 1100), "file_truncated"],
      [await tar([{ name: "../evil.json", data: "[]" }]), "unsafe_archive"],
    ] as const) {
      expect(await rejection(open(broken))).to.have.property("code", code);
    }
  });

  it("with zeros behind their end are whole: packed tapes are padded", async () => {
    const packed = await tgz([{ name: "a.json", data: "[1]" }]);
    const padded = Buffer.concat([packed, Buffer.alloc(10_240 - (packed.length % 10_240))]);
    expect(await contents(await open(padded))).to.deep.equal([[1, "takeout.tgz/a.json", "[1]"]]);
  });

  it("inside ZIP files, and with ZIP files in them, are opened to the same depth as any archive", async () => {
    const inner = buildZip([{ name: "deep.json", data: "[1]" }]);
    const bytes = buildZip([{ name: "x.tgz", data: await tgz([{ name: "y.zip", data: inner }]) }]);
    expect(await contents(await open(bytes))).to.deep.equal([[3, "x.tgz/y.zip/deep.json", "[1]"]]);
    const [file] = await filesOf(await open(bytes, null, { ...LIMITS, maxDepth: 3 }));
    expect(file?.problem?.code).to.equal("archive_limit");
  });

  it("with unsafe or repeated names, too many files or too much in them are refused", async () => {
    const unsafe = ["../evil.json", "/etc/passwd", "a/../../b", "C:/x", "a\\b", "x".repeat(2000)];
    for (const name of unsafe)
      expect(await problemOf(await tgz([{ name, data: "[]" }])), name).to.equal("unsafe_archive");
    const twins = await tgz([
      { name: "a.json", data: "[1]" },
      { name: "./a.json", data: "[2]" },
    ]);
    expect(await problemOf(twins)).to.equal("unsafe_archive");
    const many = await tgz(Array.from({ length: 6 }, (_, n) => ({ name: `${n}.json`, data: "[]" })));
    expect(await problemOf(many, { ...LIMITS, maxEntries: 5 })).to.equal("archive_limit");
    const large = await tgz([{ name: "a.json", data: Buffer.alloc(6000) }]);
    expect(await problemOf(large, { ...LIMITS, unpackedMaxBytes: 9000 })).to.equal("archive_limit");
  });

  it("that are cut short or damaged say so, and a text with their mark is a text", async () => {
    const whole = await tar([
      { name: "a.json", data: "[1]" },
      { name: "b.json", data: "x".repeat(3000) },
    ]);
    expect(await problemOf(gzipSync(whole.subarray(0, 2500)))).to.equal("file_truncated");
    const damaged = Buffer.from(whole);
    damaged.write("zzzz", 1024 + 148);
    expect(await problemOf(gzipSync(damaged))).to.equal("entry_corrupt");
    const text = gzipSync(Buffer.from(`["${" ".repeat(255)}ustar${" ".repeat(500)}"]`));
    expect((await open(text, "x.json.gz")).kind).to.equal("loose");
  });
});
