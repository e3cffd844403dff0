import { expect } from "chai";
import { randomBytes } from "node:crypto";
import { crc32, deflateRawSync, gzipSync } from "node:zlib";
import type { UploadEntry } from "../../../../services/import/reading/upload.js";
import { LIMITS, buildZip, errorOf, memoryBlob, openUpload, readAll } from "./support.js";

const LIST = Buffer.from(
  JSON.stringify(Array.from({ length: 30_000 }, (_, n) => ({ n, text: `row ${n * 7919}` }))),
);

async function only(bytes: Buffer, name = "history.json.gz", limits = LIMITS, pieceBytes = 16 * 1024) {
  const upload = await openUpload(memoryBlob(bytes, pieceBytes), name, limits);
  return { upload, entry: await upload.entry(0) };
}

/** What comes before the error, and the error. */
async function broken(
  entry: UploadEntry,
): Promise<{ bytes: Buffer; code: string | undefined; message: string }> {
  const pieces: Buffer[] = [];
  const error = await errorOf(
    (async () => {
      for await (const piece of (await entry.open()) as AsyncIterable<Buffer>) pieces.push(piece);
    })(),
  );
  return { bytes: Buffer.concat(pieces), code: error.code, message: error.message };
}

/** A member with every optional field of the header. */
function fullHeader(data: Buffer): Buffer {
  const flags = 2 | 4 | 8 | 16;
  const header = Buffer.from([0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3]);
  const extra = Buffer.concat([Buffer.from([0x00, 0x80]), Buffer.alloc(0x8000, 1)]);
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(data), 0);
  trailer.writeUInt32LE(data.length, 4);
  const names = Buffer.from("a name\0a comment\0");
  return Buffer.concat([header, extra, names, Buffer.alloc(2), deflateRawSync(data), trailer]);
}

describe("reading a gzip file", () => {
  it("gives the one file in it, named without .gz, with its true size", async () => {
    for (const [bytes, name, expected] of [
      [gzipSync(LIST), "history.json.gz", "history.json"],
      [gzipSync(LIST), "C:\\x\\HISTORY.GZ", "HISTORY"],
      [gzipSync(LIST), "no-ending", "no-ending"],
      [fullHeader(LIST), "h.json.gz", "h.json"],
      [gzipSync(LIST, { level: 0 }), "h.json.gz", "h.json"],
    ] as const) {
      const { upload, entry } = await only(bytes, name);
      expect(upload.kind).to.equal("loose");
      expect(entry).to.include({ index: 0, name: expected, sizeBytes: LIST.length, problem: null });
      expect((await readAll(await entry.open())).equals(LIST)).to.equal(true);
    }
  });

  it("joins pieces that were packed one by one, wherever the buffers end", async () => {
    const half = LIST.length >> 1;
    const bytes = Buffer.concat([
      gzipSync(LIST.subarray(0, half)),
      gzipSync(""),
      gzipSync(LIST.subarray(half)),
    ]);
    for (const size of [1000, 4096, 16 * 1024, bytes.length]) {
      const { entry } = await only(bytes, "x.gz", LIMITS, size);
      expect((await readAll(await entry.open())).equals(LIST), `pieces of ${size}`).to.equal(true);
    }
    const many = Buffer.concat(Array.from({ length: 1001 }, () => gzipSync("")));
    expect((await only(many)).entry.problem?.code).to.equal("archive_limit");
  });

  it("gives all that is whole before it says where the file is cut, at any place", async () => {
    const packed = gzipSync(LIST);
    for (const cut of [1, 7, 8, 9, 1000, packed.length - 30]) {
      const { entry } = await only(packed.subarray(0, packed.length - cut));
      const { bytes, code } = await broken(entry);
      expect(code, `${cut} bytes less`).to.equal("file_truncated");
      expect(LIST.subarray(0, bytes.length).equals(bytes)).to.equal(true);
      expect(entry.sizeBytes).to.equal(bytes.length);
      if (cut <= 8) expect(bytes.length).to.equal(LIST.length);
    }
    const short = Buffer.from([0x1f, 0x8b, 8]);
    expect((await broken((await only(short)).entry)).code).to.equal("file_truncated");
  });

  it("loses nothing to garbage behind the end, and says that it is there", async () => {
    for (const garbage of ["x", "\0\0\0\0x", "garbage ".repeat(20_000), "\u001f"]) {
      const bytes = Buffer.concat([gzipSync(LIST), Buffer.from(garbage)]);
      const found = await broken((await only(bytes)).entry);
      expect(found.bytes.equals(LIST)).to.equal(true);
      expect(found.code).to.equal(garbage === "\u001f" ? "file_truncated" : "entry_corrupt");
    }
  });

  it("takes zeros behind the end for padding", async () => {
    for (const zeros of [1, 9, 70_000]) {
      const { entry } = await only(Buffer.concat([gzipSync(LIST), Buffer.alloc(zeros)]));
      expect((await readAll(await entry.open())).equals(LIST)).to.equal(true);
      expect(entry).to.include({ sizeBytes: LIST.length, problem: null });
    }
  });

  it("says that a damaged file is damaged", async () => {
    const packed = gzipSync(LIST);
    const damaged = (at: number): Buffer => {
      const bytes = Buffer.from(packed);
      bytes.writeUInt8(bytes.readUInt8(at) ^ 0xff, at);
      return bytes;
    };
    for (const at of [3, packed.length >> 1, packed.length - 8, packed.length - 1])
      expect((await broken((await only(damaged(at))).entry)).code, `byte ${at}`).to.equal("entry_corrupt");
    const checksum = await broken((await only(damaged(packed.length - 8))).entry);
    expect(checksum.bytes.equals(LIST)).to.equal(true);
    expect(checksum.message).to.equal("The checksum of the packed file is wrong");
  });

  it("gives the same bytes before a damaged place however fast it is read", async () => {
    const packed = gzipSync(LIST);
    packed.writeUInt8(packed.readUInt8(packed.length - 2000) ^ 0xff, packed.length - 2000);
    const { entry } = await only(packed);
    const first = await broken(entry);
    for (const pause of [0, 1]) {
      const pieces: Buffer[] = [];
      await errorOf(
        (async () => {
          for await (const piece of (await entry.open()) as AsyncIterable<Buffer>) {
            pieces.push(piece);
            for (let turn = 0; turn < pause * 20; turn += 1) await new Promise(setImmediate);
          }
        })(),
      );
      expect(Buffer.concat(pieces).equals(first.bytes)).to.equal(true);
    }
  });

  it("stops a bomb at the limit of the size and of the ratio, and not one byte before", async () => {
    const sized = (bytes: number): Promise<{ entry: UploadEntry }> =>
      only(gzipSync(Buffer.alloc(bytes, " ")), "x.gz", {
        ...LIMITS,
        entryMaxBytes: 3 * 1024 ** 2,
        maxRatio: 100_000,
      });
    expect((await sized(3 * 1024 ** 2)).entry.problem).to.equal(null);
    const { problem } = (await sized(3 * 1024 ** 2 + 1)).entry;
    expect([problem?.code, problem?.message.includes("3145728")]).to.deep.equal(["archive_limit", true]);

    const bomb = gzipSync(Buffer.alloc(50 * 1024 ** 2, "A"));
    const { entry } = await only(bomb);
    expect(entry.problem?.message).to.contain("200 times");
    expect((await errorOf(entry.open())).code).to.equal("archive_limit");

    const blob = memoryBlob(gzipSync(randomBytes(8 * 1024 ** 2)));
    await openUpload(blob, "x.gz", { ...LIMITS, entryMaxBytes: 1024 ** 2 });
    expect(blob.bytesRead).to.be.below(2 * 1024 ** 2);
  });

  it("is opened inside an archive, and an archive inside it", async () => {
    const zip = buildZip([{ name: "a/b.json", data: "[1]" }]);
    const packed = await openUpload(memoryBlob(gzipSync(zip)), "export.zip.gz", LIMITS);
    const names = [];
    for await (const entry of packed.entries())
      names.push([entry.index, entry.name, (await readAll(await entry.open())).toString()]);
    expect(names).to.deep.equal([[1, "export.zip/a/b.json", "[1]"]]);
    expect(packed.kind).to.equal("archive");

    const outer = await openUpload(
      memoryBlob(
        buildZip([
          { name: "x/h.json.gz", data: gzipSync("[2]") },
          { name: "t.json", data: "[3]" },
        ]),
      ),
      null,
      LIMITS,
    );
    const inside = [];
    for await (const entry of outer.entries())
      inside.push([entry.index, entry.name, (await readAll(await entry.open())).toString()]);
    expect(inside).to.deep.equal([
      [1, "t.json", "[3]"],
      [2, "x/h.json", "[2]"],
    ]);
  });
});
