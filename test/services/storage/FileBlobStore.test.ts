import { expect } from "chai";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { PassThrough, Readable } from "node:stream";
import type { BlobReader } from "../../../services/storage/BlobStore.js";
import { ImportError } from "../../../services/import/verdicts.js";
import { FileBlobStore } from "../../../services/storage/FileBlobStore.js";
import { PayloadTooLargeError, UnavailableError } from "../../../utils/errors.js";
import { collectGarbage } from "../../support/memory.js";

const MAX = { maxBytes: 10 * 1024 ** 2 };

async function rejection(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => {
      throw new Error("expected a rejection");
    },
    (error: unknown) => error,
  );
}

/** File systems count time in steps of some milliseconds: two changes within one are one to them. */
async function untilFilesGetNewerThan(place: string): Promise<void> {
  const { ctimeMs } = await stat(place);
  const probe = `${place}.probe`;
  do await writeFile(probe, "x");
  while ((await stat(probe)).ctimeMs === ctimeMs);
  await rm(probe);
}

async function contentOf(stream: Readable): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe("the store of uploads in a folder", () => {
  let home: string;
  let folder: string;
  let store: FileBlobStore;

  beforeEach(async () => {
    home = await mkdtemp(path.join(tmpdir(), "playlog-blobs-"));
    folder = path.join(home, "spool");
    store = new FileBlobStore(folder);
  });

  afterEach(() => rm(home, { recursive: true, force: true }));

  it("keeps what is streamed to it, counted and hashed, readable by its owner alone", async () => {
    const bytes = randomBytes(1_000_003);
    const pieces = [bytes.subarray(0, 7), bytes.subarray(7, 700_000), bytes.subarray(700_000)];
    const blob = await store.put(Readable.from(pieces), MAX);
    expect(blob.sizeBytes).to.equal(bytes.length);
    expect(blob.sha256.toString("hex")).to.equal(createHash("sha256").update(bytes).digest("hex"));
    expect(await readdir(folder)).to.deep.equal([blob.key]);
    expect((await stat(path.join(folder, blob.key))).mode & 0o777).to.equal(0o600);

    const reader = await store.open(blob.key);
    try {
      expect(reader.sizeBytes).to.equal(bytes.length);
      expect((await contentOf(reader.createReadStream())).equals(bytes)).to.equal(true);
      expect(
        (await contentOf(reader.createReadStream(5, 600_005))).equals(bytes.subarray(5, 600_005)),
      ).to.equal(true);
      expect(await contentOf(reader.createReadStream(9, 9))).to.have.length(0);
      const target = Buffer.alloc(10);
      expect(await reader.read(target, bytes.length - 4)).to.equal(4);
      expect(target.subarray(0, 4).equals(bytes.subarray(-4))).to.equal(true);
      expect(await reader.read(target, bytes.length)).to.equal(0);
    } finally {
      await reader.close();
    }
  });

  it("holds on to nothing that it has written while the rest still comes", async () => {
    const pieces: WeakRef<Buffer>[] = [];
    let held = NaN;
    async function* upload(): AsyncGenerator<Buffer> {
      for (let n = 0; n < 200; n += 1) {
        const piece = Buffer.alloc(64 * 1024, n);
        pieces.push(new WeakRef(piece));
        yield piece;
      }
      await collectGarbage();
      held = pieces.filter((piece) => piece.deref() !== undefined).length;
    }
    await store.put(Readable.from(upload()), { maxBytes: 1024 ** 3 });
    expect(held).to.be.below(40); // what the stream has read ahead
  });

  it("keeps an empty upload, and two of the same content apart", async () => {
    const first = await store.put(Readable.from([]), MAX);
    const second = await store.put(Readable.from([]), MAX);
    expect([first.sizeBytes, second.sizeBytes]).to.deep.equal([0, 0]);
    await store.delete(first.key);
    await store.delete(first.key);
    const reader = await store.open(second.key);
    expect(reader.sizeBytes).to.equal(0);
    await reader.close();
  });

  it("allows many streams of one blob at a time", async () => {
    const bytes = randomBytes(300_000);
    const { key } = await store.put(Readable.from([bytes]), MAX);
    const reader = await store.open(key);
    const contents = await Promise.all(
      Array.from({ length: 30 }, () => contentOf(reader.createReadStream(1))),
    );
    expect(contents.every((content) => content.equals(bytes.subarray(1)))).to.equal(true);
    await reader.close();
  });

  it("refuses the byte beyond the limit, leaves no file, and leaves the source to its owner", async () => {
    const exact = await store.put(Readable.from([Buffer.alloc(6), Buffer.alloc(4)]), { maxBytes: 10 });
    expect(exact.sizeBytes).to.equal(10);
    const source = Readable.from([Buffer.alloc(6), Buffer.alloc(5), Buffer.alloc(5)]);
    expect(await rejection(store.put(source, { maxBytes: 10 }))).to.be.instanceOf(PayloadTooLargeError);
    expect(source.destroyed).to.equal(false);
    expect(await readdir(folder)).to.deep.equal([exact.key]);
  });

  it("leaves no file when the source breaks off or the upload is aborted", async () => {
    const broken = new PassThrough();
    broken.write(Buffer.alloc(1000));
    setTimeout(() => broken.destroy(new Error("connection lost")), 10);
    expect(await rejection(store.put(broken, MAX))).to.have.property("message", "connection lost");

    const atOnce = new PassThrough();
    const early = store.put(atOnce, MAX);
    atOnce.destroy(new Error("never connected"));
    expect(await rejection(early)).to.have.property("message", "never connected");

    const stalled = new PassThrough();
    stalled.write(Buffer.alloc(1000));
    const abort = new AbortController();
    setTimeout(() => {
      abort.abort(new Error("too slow"));
    }, 10);
    const error = await rejection(store.put(stalled, { ...MAX, signal: abort.signal }));
    expect(error).to.have.property("message", "too slow");

    const later = new AbortController();
    const work = store.put(stalled, { ...MAX, signal: later.signal });
    later.abort(new Error("before the first byte"));
    expect(await rejection(work)).to.have.property("message", "before the first byte");
    stalled.destroy();
    expect(await readdir(folder)).to.deep.equal([]);
  });

  it("says that an upload is lost when it is not there, whatever the key tries", async () => {
    const { key } = await store.put(Readable.from([Buffer.from("x")]), MAX);
    await writeFile(path.join(home, "secret"), "x");
    await symlink(path.join(home, "secret"), path.join(folder, "0".repeat(32)));
    for (const bad of ["", "..", "../secret", `../spool/${key}`, `${key}/`, `${key}\0`, "f".repeat(32)]) {
      const error = await rejection(store.open(bad));
      expect(error, bad).to.be.instanceOf(ImportError).with.property("code", "storage_lost");
      await store.delete(bad);
    }
    expect(await rejection(store.open("0".repeat(32))), "a link").to.be.instanceOf(UnavailableError);
    await store.delete(`../secret`);
    expect(await readdir(home)).to.have.members(["secret", "spool"]);
  });

  it("refuses uploads on a disk that is nearly full, unless much is free all the same", async () => {
    const full = new FileBlobStore(folder, { maxUsedShare: 0, enoughFreeBytes: Number.MAX_SAFE_INTEGER });
    const error = await rejection(full.put(Readable.from([Buffer.from("x")]), MAX));
    expect(error).to.be.instanceOf(UnavailableError).with.property("code", "storage_full");
    expect(await readdir(folder)).to.deep.equal([]);
    expect((await full.health()).ok).to.equal(false);
    expect((await full.health()).detail).to.contain("% of the disk");

    const roomy = new FileBlobStore(folder, { maxUsedShare: 0, enoughFreeBytes: 1 });
    expect((await roomy.put(Readable.from([Buffer.from("x")]), MAX)).sizeBytes).to.equal(1);
    expect(await roomy.health()).to.deep.equal({ ok: true, detail: null });
  });

  it("reports a folder that cannot be used as unavailable, not as the caller's fault", async () => {
    await writeFile(folder, "a file where the folder should be");
    const error = await rejection(store.put(Readable.from([Buffer.from("x")]), MAX));
    expect(error).to.be.instanceOf(UnavailableError).with.property("code", "storage_unavailable");
    expect((await store.health()).ok).to.equal(false);
  });

  it("lists the keys of blobs by age, and of nothing else", async () => {
    const old = await store.put(Readable.from([Buffer.from("x")]), MAX);
    const young = await store.put(Readable.from([Buffer.from("x")]), MAX);
    const other = path.join(folder, `${"a".repeat(32)}.partial`);
    await writeFile(other, "x");
    const hourAgo = new Date(Date.now() - 3_600_000);
    for (const file of [other, path.join(folder, old.key)]) await utimes(file, hourAgo, hourAgo);
    const keys = async (of: FileBlobStore, ageMs: number): Promise<string[]> => {
      const found: string[] = [];
      for await (const key of of.keysOlderThan(ageMs)) found.push(key);
      return found;
    };
    expect(await keys(store, 60_000)).to.deep.equal([old.key]);
    expect(await keys(store, 0)).to.have.members([old.key, young.key]);
    expect(await keys(new FileBlobStore(path.join(home, "absent")), 0)).to.deep.equal([]);
  });

  it("sweeps what interrupted uploads left, and nothing else", async () => {
    const { key } = await store.put(Readable.from([Buffer.from("x")]), MAX);
    const old = path.join(folder, `${"a".repeat(32)}.partial`);
    const young = path.join(folder, `${"b".repeat(32)}.partial`);
    await writeFile(old, "x");
    const clock = path.join(folder, `${"c".repeat(32)}.clock`);
    await writeFile(clock, "x");
    await writeFile(young, "x");
    const hourAgo = new Date(Date.now() - 3_600_000);
    for (const file of [old, clock]) await utimes(file, hourAgo, hourAgo);
    await utimes(path.join(folder, key), hourAgo, hourAgo);
    expect(await store.sweep(60_000)).to.equal(2);
    expect(await readdir(folder)).to.have.members([key, path.basename(young)]);
    expect(await new FileBlobStore(path.join(home, "absent")).sweep(0)).to.equal(0);
  });

  it("sweeps what a worker was unpacking when it was killed, beside what it had unpacked", async () => {
    const { key } = await store.put(Readable.from([Buffer.from("x")]), MAX);
    await (await store.putDerived(key, "1", Readable.from([Buffer.from("whole")]), MAX)).close();
    const derived = path.join(folder, `${key}.derived`);
    const half = path.join(derived, "2.0123456789abcdef.partial");
    await writeFile(half, "half");
    expect(await store.sweep(60_000)).to.equal(0);
    const hourAgo = new Date(Date.now() - 3_600_000);
    await utimes(half, hourAgo, hourAgo);
    expect(await store.sweep(60_000)).to.equal(1);
    expect(await readdir(derived)).to.deep.equal(["1"]);
  });

  it("tells why an upload failed, also when the disk then does not let its file be removed", async () => {
    async function* tooMuch(): AsyncGenerator<Buffer> {
      yield Buffer.from("begun");
      await rm(folder, { recursive: true });
      await writeFile(folder, "no folder any more");
      yield Buffer.alloc(MAX.maxBytes);
    }
    expect(await rejection(store.put(Readable.from(tooMuch()), MAX))).to.be.instanceOf(PayloadTooLargeError);
  });

  describe("and the files made out of them", () => {
    async function* bytesOf(...pieces: readonly (string | Error)[]): AsyncGenerator<Buffer> {
      for (const piece of pieces) {
        if (piece instanceof Error) throw await Promise.resolve(piece);
        yield Buffer.from(piece);
      }
    }
    const textOf = async (reader: BlobReader | null): Promise<string | null> => {
      if (reader === null) return null;
      try {
        return (await contentOf(reader.createReadStream())).toString();
      } finally {
        await reader.close();
      }
    };
    let key: string;
    beforeEach(async () => {
      ({ key } = await store.put(Readable.from([Buffer.from("upload")]), MAX));
    });

    it("keeps them until they, or their upload, are deleted", async () => {
      expect(await store.openDerived(key, "1")).to.equal(null);
      expect(await textOf(await store.putDerived(key, "1", bytesOf("un", "packed"), MAX))).to.equal(
        "unpacked",
      );
      expect(await textOf(await store.openDerived(key, "1"))).to.equal("unpacked");
      await store.deleteDerived(key);
      expect(await store.openDerived(key, "1")).to.equal(null);
      expect(await readdir(folder)).to.deep.equal([key]);
      await store.deleteDerived(key);

      await (await store.putDerived(key, "2", bytesOf("more"), MAX)).close();
      await store.delete(key);
      expect(await readdir(folder)).to.deep.equal([]);
    });

    it("replaces one without taking it from those who read it", async () => {
      const old = await store.putDerived(key, "1", bytesOf("old"), MAX);
      const fresh = await store.putDerived(key, "1", bytesOf("new"), MAX);
      expect(await textOf(old)).to.equal("old");
      expect(await textOf(fresh)).to.equal("new");
      expect(await textOf(await store.openDerived(key, "1"))).to.equal("new");
      const last = await store.openDerived(key, "1");
      await store.deleteDerived(key);
      expect(await textOf(last)).to.equal("new");
    });

    it("leaves nothing of one that could not be made", async () => {
      const failed = await rejection(store.putDerived(key, "1", bytesOf("half", new Error("damaged")), MAX));
      expect(failed).to.have.property("message", "damaged");
      const large = await rejection(store.putDerived(key, "1", bytesOf("too large"), { maxBytes: 3 }));
      expect(large).to.be.instanceOf(PayloadTooLargeError);
      const aborted = { ...MAX, signal: AbortSignal.abort(new Error("enough")) };
      expect(await rejection(store.putDerived(key, "1", bytesOf("x"), aborted))).to.have.property(
        "message",
        "enough",
      );
      expect(await readdir(path.join(folder, `${key}.derived`))).to.deep.equal([]);
      const full = new FileBlobStore(folder, { maxUsedShare: 0, enoughFreeBytes: Infinity });
      expect(await rejection(full.putDerived(key, "1", bytesOf("x"), MAX))).to.have.property(
        "code",
        "storage_full",
      );
    });

    it("names uploads that have some by the age of the newest, and takes no name from outside", async () => {
      await (await store.putDerived(key, "1", bytesOf("x"), MAX)).close();
      const keys = async (ageMs: number): Promise<string[]> => {
        const found: string[] = [];
        for await (const each of store.derivedOlderThan(ageMs)) found.push(each);
        return found;
      };
      expect(await keys(0)).to.deep.equal([key]);
      expect(await keys(60_000)).to.deep.equal([]);
      const hourAgo = new Date(Date.now() - 3_600_000);
      await utimes(path.join(folder, `${key}.derived`), hourAgo, hourAgo);
      expect(await keys(60_000)).to.deep.equal([key]);
      for (const name of ["../x", "a/b", "", "A.json"])
        expect(await rejection(store.putDerived(key, name, bytesOf("x"), MAX))).to.be.instanceOf(TypeError);
      expect(await rejection(store.putDerived("../x", "1", bytesOf("x"), MAX))).to.be.instanceOf(ImportError);
    });

    it("tells by the version whether somebody wrote to a stored file, whatever its time says", async () => {
      const reader = await store.open(key);
      try {
        const before = await reader.version();
        expect(await reader.version()).to.equal(before);
        await utimes(path.join(folder, key), 1, 1);
        const touched = await reader.version();
        expect(touched).to.not.equal(before);
        await untilFilesGetNewerThan(path.join(folder, key));
        await writeFile(path.join(folder, key), "uplOad");
        await utimes(path.join(folder, key), 1, 1);
        expect(await reader.version()).to.not.equal(touched);
      } finally {
        await reader.close();
      }
    });
  });
});
