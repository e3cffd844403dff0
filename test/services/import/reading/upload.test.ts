import { expect } from "chai";
import { deflateRawSync } from "node:zlib";
import type { Upload, UploadEntry } from "../../../../services/import/reading/upload.js";
import { LIMITS, buildZip, errorOf, memoryBlob, openUpload, readAll, type ZipFileSpec } from "./support.js";

const open = (bytes: Buffer, filename: string | null = null, limits = LIMITS): Promise<Upload> =>
  openUpload(memoryBlob(bytes), filename, limits);

async function entriesOf(upload: Upload): Promise<UploadEntry[]> {
  const entries: UploadEntry[] = [];
  for await (const entry of upload.entries()) entries.push(entry);
  return entries;
}

async function zipEntries(files: readonly ZipFileSpec[], limits = LIMITS): Promise<UploadEntry[]> {
  return entriesOf(await open(buildZip(files), null, limits));
}

const content = async (entry: UploadEntry): Promise<string> => (await readAll(await entry.open())).toString();

const openError = (files: readonly ZipFileSpec[]): ReturnType<typeof errorOf> =>
  errorOf(open(buildZip(files)));

describe("walking an upload", () => {
  describe("that is a loose file", () => {
    it("is one entry with the base name of what the client sent", async () => {
      const upload = await open(Buffer.from("[1]"), "C:\\Users\\me\\endvideo_0\u0007.json");
      expect(upload.kind).to.equal("loose");
      const [entry] = await entriesOf(upload);
      expect(entry).to.include({ index: 0, name: "endvideo_0.json", sizeBytes: 3, problem: null });
      expect(await content(await upload.entry(0))).to.equal("[1]");
      expect((await entriesOf(await open(Buffer.from("[1]"))))[0]?.name).to.equal("upload");
    });

    it("refuses to open one above the limit", async () => {
      const upload = await open(Buffer.alloc(11), "x", { ...LIMITS, entryMaxBytes: 10 });
      const [entry] = await entriesOf(upload);
      expect(entry?.problem?.code).to.equal("archive_limit");
      expect((await errorOf(upload.entry(0).then((it) => it.open()))).code).to.equal("archive_limit");
    });

    it("is what text with a ZIP's end mark in it is", async () => {
      const text = Buffer.concat([Buffer.from('["'), Buffer.from("PK\u0005\u0006"), Buffer.alloc(18, 32)]);
      expect((await open(text)).kind).to.equal("loose");
    });
  });

  describe("that is a ZIP", () => {
    it("lists files in the order of the directory, without folders and what macOS adds", async () => {
      const upload = await open(
        buildZip([
          { name: "My Data/" },
          { name: "My Data/b.json", data: "[2]" },
          { name: "__MACOSX/My Data/._b.json", data: "junk" },
          { name: "My Data/.DS_Store", data: "junk" },
          { name: "a.json", data: "[1]", stored: true },
        ]),
      );
      expect(upload.kind).to.equal("archive");
      const entries = await entriesOf(upload);
      expect(entries.map(({ index, name, sizeBytes }) => [index, name, sizeBytes])).to.deep.equal([
        [1, "My Data/b.json", 3],
        [4, "a.json", 3],
      ]);
      expect(await content(await upload.entry(4))).to.equal("[1]");
      expect(await content(await upload.entry(1))).to.equal("[2]");
      expect((await errorOf(upload.entry(0))).code).to.equal("storage_lost");
    });

    it("reads names that are UTF-8 without saying so, and backslashes as separators", async () => {
      const entries = await zipEntries([
        { name: "Meine Aktivitäten/historie.json", data: "[]", flags: 0 },
        { name: Buffer.from([0x81, 0x62]), data: "[]", flags: 0 },
        { name: "MyData\\endsong_0.json", data: "[]" },
      ]);
      expect(entries.map(({ name }) => name)).to.deep.equal([
        "Meine Aktivitäten/historie.json",
        "üb",
        "MyData/endsong_0.json",
      ]);
    });

    it("accepts an archive without files, with a comment, with bytes in front, and of the 64-bit kind", async () => {
      expect(await zipEntries([])).to.deep.equal([]);
      const files = [{ name: "a.json", data: "[1]" }];
      const variants = [
        buildZip(files, { comment: "PK\u0005\u0006 made by hand" }),
        Buffer.concat([Buffer.from("7 bytes"), buildZip(files)]),
        buildZip(files, { zip64: true }),
        Buffer.concat([Buffer.from("7 bytes"), buildZip(files, { zip64: true })]),
      ];
      for (const bytes of variants) {
        const [entry] = await entriesOf(await open(bytes));
        expect(entry === undefined ? null : await content(entry)).to.equal("[1]");
      }
    });

    it("is no ZIP when it was cut short or its directory does not add up", async () => {
      const zip = buildZip([
        { name: "a", data: "[1]" },
        { name: "b", data: "[2]" },
      ]);
      const broken = Buffer.from(zip);
      broken.writeUInt32LE(0, zip.lastIndexOf(Buffer.from("PK\u0001\u0002")));
      const variants = [
        zip.subarray(0, -30),
        Buffer.concat([zip, Buffer.from("x")]),
        broken,
        buildZip([{ name: "a" }, { name: "b" }], { entryCount: 1 }),
        buildZip([{ name: "a" }], { entryCount: 2 }),
      ];
      for (const [place, bytes] of variants.entries()) {
        expect((await errorOf(open(bytes))).code, `variant ${place}`).to.equal("not_a_zip");
      }
    });

    it("refuses names that lead outside, that are not valid, and that occur twice", async () => {
      for (const name of [
        "../../x.json",
        "/etc/x",
        "a\0.json",
        "C:/x",
        "a/../../b",
        "..\\x",
        "",
        "x".repeat(1025),
      ]) {
        const error = await openError([{ name, data: "[]" }]);
        expect(error.code, name).to.equal("unsafe_archive");
        // The message goes into the history of the queue, where no name may be.
        expect(error.message).to.match(/^The name of entry 1 /);
      }
      const twins = [
        { name: "a.json", data: "[1]" },
        { name: "a.json", data: "[2]" },
      ];
      const twinned = await openError(twins);
      expect(twinned.code).to.equal("unsafe_archive");
      expect(twinned.message).to.equal("Entries 1 and 2 of the archive have the same name");
      expect(await zipEntries([{ name: "a..b/..c.json", data: "[]" }])).to.have.length(1);
    });

    it("bounds the number of entries, their total size and their overlap before reading any", async () => {
      const files = (count: number): ZipFileSpec[] =>
        Array.from({ length: count }, (_, n) => ({ name: `${n}.json`, data: "[]" }));
      const limits = { ...LIMITS, maxEntries: 3, unpackedMaxBytes: 6 };
      expect(await zipEntries(files(3), limits)).to.have.length(3);
      const tooMany = await errorOf(zipEntries(files(4), limits));
      expect([tooMany.code, tooMany.message]).to.deep.equal([
        "archive_limit",
        "The archive has 4 entries; the limit is 3",
      ]);
      const tooLarge = await errorOf(zipEntries(files(3), { ...limits, unpackedMaxBytes: 5 }));
      expect([tooLarge.code, tooLarge.message]).to.deep.equal([
        "archive_limit",
        "The archive unpacks to 6 bytes; the limit is 5",
      ]);
      const shared = await openError([
        { name: "a", data: "[1]" },
        { name: "b", data: "[1]", sameBodyAs: 0 },
      ]);
      expect(shared.code).to.equal("archive_limit");
      expect(shared.message).to.equal("Entry 1 shares bytes with entry 2; the limit is 0 shared bytes");
    });

    it("says of one unreadable file what is wrong and reads the others", async () => {
      const entries = await zipEntries([
        { name: "link", data: "/etc/passwd", stored: true, unixMode: 0o120777 },
        { name: "locked", data: "x", flags: 0x801 },
        { name: "odd", data: "x", method: 99 },
        { name: "sizes", data: "abc", stored: true, unpackedBytes: 10 },
        { name: "good", data: "[1]", unixMode: 0o100644 },
      ]);
      expect(entries.map(({ problem }) => problem?.code ?? null)).to.deep.equal([
        "entry_unsupported",
        "encrypted",
        "entry_unsupported",
        "entry_corrupt",
        null,
      ]);
      const [link, , , , good] = entries;
      expect((await errorOf(link?.open() ?? Promise.resolve())).code).to.equal("entry_unsupported");
      expect(good === undefined ? null : await content(good)).to.equal("[1]");
    });

    it("proves size, checksum and packing while it reads", async () => {
      const data = "[1,2,3]".repeat(5000);
      const packed = deflateRawSync(data);
      const damaged = Buffer.from(packed);
      damaged.fill(0xff, damaged.length >> 1);
      const lies: ZipFileSpec[] = [
        { name: "larger", data, unpackedBytes: 10 },
        { name: "smaller", data, unpackedBytes: data.length + 1 },
        { name: "checksum", data, crc: 1 },
        { name: "damaged", data, packed: damaged },
        { name: "short", data, packed: packed.subarray(0, -4) },
        { name: "no deflate", data, packed: Buffer.from("this is no deflate stream") },
      ];
      for (const entry of await zipEntries(lies)) {
        expect((await errorOf(content(entry))).code, entry.name).to.equal("entry_corrupt");
      }
      const [stored] = await zipEntries([{ name: "stored", data: "[1]", stored: true, crc: 1 }]);
      expect((await errorOf(stored === undefined ? Promise.resolve() : content(stored))).code).to.equal(
        "entry_corrupt",
      );
    });

    it("stops a bomb at the limit, whether or not the archive owns up to it", async () => {
      const bomb = Buffer.alloc(20 * 1024 ** 2, "A");
      const [honest] = await zipEntries([{ name: "bomb", data: bomb }]);
      expect(honest?.problem?.code).to.equal("archive_limit");
      expect(honest?.problem?.message).to.contain("200 times");

      const [large] = await zipEntries([{ name: "large", data: bomb }], { ...LIMITS, entryMaxBytes: 1024 });
      expect(large?.problem?.code).to.equal("archive_limit");

      const [liar] = await zipEntries([{ name: "liar", data: bomb, unpackedBytes: 2 * 1024 ** 2 }], {
        ...LIMITS,
        maxRatio: 120,
      });
      expect(liar?.problem).to.equal(null);
      let seen = 0;
      const read = async (): Promise<void> => {
        const stream = await liar?.open();
        for await (const bytes of (stream ?? []) as AsyncIterable<Buffer>) seen += bytes.length;
      };
      expect((await errorOf(read())).code).to.equal("entry_corrupt");
      expect(seen).to.be.at.most(2 * 1024 ** 2);
    });

    it("gives the same bytes before a damaged place every time", async () => {
      const text = Array.from({ length: 40_000 }, (_, n) => `${n * 7919},`).join("");
      const packed = deflateRawSync(text);
      packed.fill(0xff, packed.length - 2000, packed.length - 1000);
      const zip = buildZip([{ name: "a", data: text, packed }]);
      const lengths = new Set<number>();
      for (let round = 0; round < 8; round += 1) {
        const [entry] = await entriesOf(await openUpload(memoryBlob(zip, 700 + round * 997), null, LIMITS));
        let seen = 0;
        const read = async (): Promise<void> => {
          const stream = await entry?.open();
          for await (const bytes of (stream ?? []) as AsyncIterable<Buffer>) {
            seen += bytes.length;
            if (round % 2 === 1) await new Promise((resolve) => setTimeout(resolve, 1));
          }
        };
        expect((await errorOf(read())).code).to.equal("entry_corrupt");
        lengths.add(seen);
      }
      expect([...lengths]).to.have.length(1);
      expect([...lengths][0]).to.be.greaterThan(text.length / 2);
    });

    it("reports a failing storage as itself, not as a bad archive", async () => {
      const blob = memoryBlob(buildZip([{ name: "a", data: "[1]" }]));
      const failing = { ...blob, read: () => Promise.reject(new Error("disk gone")) };
      expect((await errorOf(openUpload(failing, null, LIMITS))).message).to.equal("disk gone");
    });

    it("ends a stream that was aborted before it was opened, for its reader alone", async () => {
      for (const bytes of [buildZip([{ name: "a", data: "[1]" }]), Buffer.from("[1]")]) {
        const [entry] = await entriesOf(await openUpload(memoryBlob(bytes), null, LIMITS));
        const stream = await entry!.open(AbortSignal.abort());
        await new Promise((resolve) => setTimeout(resolve, 5));
        expect((await errorOf(readAll(stream))).name).to.equal("AbortError");
      }
    });

    it("ends a stream that is aborted, and closes the blob with the upload", async () => {
      const blob = memoryBlob(buildZip([{ name: "a", data: "[1,2]".repeat(100_000) }]));
      const upload = await openUpload(blob, null, LIMITS);
      const abort = new AbortController();
      const stream = await (await upload.entry(0)).open(abort.signal);
      abort.abort();
      expect((await errorOf(readAll(stream))).name).to.equal("AbortError");
      await upload.close();
      expect(blob.closed).to.equal(true);
    });
  });
});
