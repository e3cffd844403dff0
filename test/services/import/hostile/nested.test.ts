import { expect } from "chai";
import { randomBytes } from "node:crypto";
import { readdir, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { deleteSpareArchives } from "../../../../services/import/orphanedUploads.js";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { rejection } from "../../../support/rejection.js";
import { insertUser } from "../../../support/users.js";
import { createBench, digestOf, json, LIMITS, plays, quietLog } from "../importing.js";
import type { ImportBench } from "../importing.js";
import { buildZip, type ZipFileSpec } from "../reading/support.js";
import { createHostileBench, importJob, outcomeOf, type HostileBench } from "./support.js";

const KEY = /^[0-9a-f]{32}$/;

const file = (name: string, count: number, from: number): ZipFileSpec => ({
  name,
  data: json(plays(count, from)),
});
const zip = (name: string, files: readonly ZipFileSpec[]): ZipFileSpec => ({ name, data: buildZip(files) });

/** 350 plays: 100 outside, 150 in one archive, 100 in one inside that. */
const NESTED = buildZip([
  file("a.json", 100, 0),
  zip("MyData.zip", [file("inner/b.json", 150, 100), zip("more", [file("c.json", 100, 250)])]),
]);

describe("archives inside archives, imported", () => {
  let db: TestDatabase;
  let hostile: HostileBench;
  let bench: ImportBench;
  before(async () => {
    db = await createTestDatabase();
  });
  beforeEach(async () => {
    hostile = await createHostileBench(db.database.pool);
    bench = hostile.bench;
  });
  afterEach(() => hostile.close());
  after(() => db.drop());

  const pool = () => db.database.pool;
  const sweep = (olderThanMs: number): Promise<number> =>
    deleteSpareArchives({ pool: pool(), blobs: bench.blobs, log: quietLog }, olderThanMs);

  /** The one upload is there, and nothing else. */
  const expectOnlyTheUpload = async (): Promise<void> => {
    const names = await hostile.spool();
    expect(names).to.have.length(1);
    expect(names[0]).to.match(KEY);
  };

  /** A job whose archives are unpacked and whose parts are still to come. */
  async function prepared(): Promise<{
    id: string;
    user: string;
    ref: { importId: string; attempt: number };
  }> {
    const user = await insertUser(pool());
    const id = await bench.job(user, NESTED);
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    expect((await hostile.spool()).filter((name) => name.includes("/"))).to.have.length(2);
    return { id, user, ref };
  }

  it("give the same history as their files would alone, and leave nothing behind", async () => {
    const outcome = await hostile.run(NESTED);
    expect(outcome).to.deep.include({
      status: "completed",
      parts: ["a.json: done", "MyData.zip/inner/b.json: done", "MyData.zip/more/c.json: done"],
      counts: [350, 350, 0, 0, 0],
    });
    await expectOnlyTheUpload();
    const loose = await createHostileBench(pool());
    const whole = await loose.run(json(plays(350)));
    await loose.close();
    expect(await digestOf(pool(), outcome.user)).to.deep.equal(await digestOf(pool(), whole.user));
  });

  it("are read from where they were unpacked, by another worker too, and unpacked again where they are not", async () => {
    const { id, user, ref } = await prepared();
    const folder = (await readdir(bench.spoolDir)).find((name) => name.endsWith(".derived")) ?? "";
    const places = (await readdir(path.join(bench.spoolDir, folder))).map((name) =>
      path.join(bench.spoolDir, folder, name),
    );
    const inodes = async () => Promise.all(places.map(async (place) => (await stat(place)).ino));
    const other = await createBench(pool(), { blobs: bench.blobs, limits: { ...LIMITS } });
    const before = await inodes();
    await other.steps.importPart(ref, 2, other.context());
    expect(await inodes()).to.deep.equal(before);

    await writeFile(places[1] ?? "", "not what was unpacked");
    const third = await createBench(pool(), { blobs: bench.blobs, limits: { ...LIMITS } });
    for (const partNo of await third.steps.openParts(ref, -1, 10))
      await third.steps.importPart(ref, partNo, third.context());
    expect(await third.steps.finish(ref, { outcome: "completed" })).to.equal("completed");
    await Promise.all([other.close(), third.close()]);

    expect(await outcomeOf(pool(), user, id)).to.deep.include({ counts: [350, 350, 0, 0, 0], rows: 350 });
    await expectOnlyTheUpload();
  });

  it("that change while they are read are read again from the upload, never half and half", async () => {
    const { id, user, ref } = await prepared();
    await bench.steps.importPart(ref, 0, bench.context());
    await bench.blobs.deleteDerived((await hostile.spool()).find((name) => KEY.test(name)) ?? "");
    for (const partNo of await bench.steps.openParts(ref, -1, 10))
      await bench.steps.importPart(ref, partNo, bench.context());
    expect(await bench.steps.finish(ref, { outcome: "completed" })).to.equal("completed");
    expect(await outcomeOf(pool(), user, id)).to.deep.include({ counts: [350, 350, 0, 0, 0], rows: 350 });
    await expectOnlyTheUpload();
  });

  it("leave nothing behind an import that failed, or was cancelled half way", async () => {
    for (const ending of [
      { outcome: "failed", code: "resource_limit", message: "too much" },
      { outcome: "cancelled" },
    ] as const) {
      const { ref } = await prepared();
      await bench.steps.importPart(ref, 0, bench.context());
      await bench.steps.finish(ref, ending);
      expect((await hostile.spool()).every((name) => KEY.test(name))).to.equal(true);
    }
    const none = await hostile.run(buildZip([zip("a.zip", [{ name: "x.txt", data: "no history" }])]));
    expect(none).to.deep.include({ status: "failed", code: "no_known_files", rows: 0 });
    expect((await hostile.spool()).every((name) => KEY.test(name))).to.equal(true);
  });

  it("are swept once no import reads them, and not before", async () => {
    const { id, ref } = await prepared();
    const [key] = (await hostile.spool()).filter((name) => KEY.test(name));
    // What a killed worker leaves: a file that it was still writing.
    await writeFile(path.join(bench.spoolDir, `${key}.derived`, "9.0123456789abcdef.partial"), "half");
    expect(await sweep(0)).to.equal(0);
    await pool().query("update import_jobs set status = 'failed', finished_at = now() where id = $1", [id]);
    expect(await sweep(60_000)).to.equal(0);
    expect(await sweep(0)).to.equal(1);
    await expectOnlyTheUpload();
    expect(ref.attempt).to.equal(1);
  });

  it("go with their upload", async () => {
    await prepared();
    await bench.blobs.delete((await hostile.spool()).find((name) => KEY.test(name)) ?? "");
    expect(await hostile.spool()).to.deep.equal([]);
  });

  it("are bombs when there are too many of them: the limit is named, and what fits is imported", async () => {
    const small = await createHostileBench(pool(), { maxEntries: 30, unpackedMaxBytes: 2_000_000 });
    // Each level holds ten of the one below: a thousand files of a hundred kilobytes from a few kilobytes.
    let files: ZipFileSpec[] = [{ name: "0.json", data: Buffer.alloc(100_000, " ") }];
    for (let level = 0; level < 3; level += 1)
      files = Array.from({ length: 10 }, (_, n) => zip(`${level}-${n}`, files));
    const outcome = await small.run(buildZip([file("good.json", 20, 0), ...files]));
    expect(outcome).to.deep.include({ status: "completed_with_errors", counts: [20, 20, 0, 0, 0], rows: 20 });
    expect(outcome.parts).to.include("good.json: done").and.to.include("2-9: failed archive_limit");
    expect(outcome.messages.filter((message) => message?.endsWith("the limit is 30"))).to.not.be.empty;
    const alone = await small.run(
      buildZip([zip("a", [zip("b", [zip("c", [zip("d", [file("e", 1, 0)])])])])]),
    );
    expect(alone).to.deep.include({
      status: "failed",
      code: "archive_limit",
      message: "The archive is nested 5 deep; the limit is 4",
    });
    expect((await small.spool()).every((name) => KEY.test(name))).to.equal(true);
    await small.close();
  });

  it("take no more room than one import may, however many imports their owner has under way", async () => {
    const [history, noise] = [file("b.json", 20, 0), { name: "noise", data: randomBytes(300_000) }];
    const upload = buildZip([zip("a.zip", [history, noise])]);
    const inner = buildZip([history, noise]).length;
    // One import fits with all that it holds: its archive, and about as much in it.
    const unpackedMaxBytes = inner + noise.data.length + json(plays(20)).length;
    const small = await createHostileBench(pool(), { unpackedMaxBytes });
    const kept = async (): Promise<number> =>
      (await small.spool()).filter((name) => name.includes("/")).length;
    const room = Math.floor(unpackedMaxBytes / inner);
    const [user, other] = [await insertUser(pool()), await insertUser(pool())];
    const ids: string[] = [];
    for (let n = 0; n <= room; n += 1) {
      ids.push(await small.bench.job(user, upload));
      await small.bench.steps.prepare({ importId: ids[n] ?? "", attempt: 1 }, small.bench.context());
      expect(await kept()).to.equal(Math.min(n + 1, room));
    }
    const stranger = await small.bench.job(other, upload);
    await small.bench.steps.prepare({ importId: stranger, attempt: 1 }, small.bench.context());
    expect(await kept(), "another account has room of its own").to.equal(room + 1);
    for (const id of ids) expect(await small.bench.run(id)).to.equal("completed");
    await small.close();
  });

  it("that a raised limit lets in change no file of an import that had begun into another", async () => {
    const small = await createHostileBench(pool(), { maxEntries: 4 });
    const large = await createBench(pool(), { blobs: small.bench.blobs });
    const many = zip("many.zip", [file("x.json", 10, 0), file("y.json", 10, 10), file("z.json", 10, 20)]);
    const user = await insertUser(pool());
    const id = await small.bench.job(user, buildZip([many, zip("one.zip", [file("x.json", 10, 30)])]));
    const ref = { importId: id, attempt: 1 };
    await small.bench.steps.prepare(ref, small.bench.context());
    const open = await large.steps.openParts(ref, -1, 10);
    expect(open).to.deep.equal([2]);
    for (const partNo of open) await large.steps.importPart(ref, partNo, large.context());
    await large.steps.finish(ref, { outcome: "completed" });
    expect(await outcomeOf(pool(), user, id)).to.deep.include({
      parts: ["many.zip: failed archive_limit", "one.zip/x.json: failed parser_changed"],
      rows: 0,
    });
    await Promise.all([small.close(), large.close()]);
  });

  it("stop being unpacked when the import is asked to stop, and leave no file", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, NESTED);
    const error = await rejection(
      bench.steps.prepare(
        { importId: id, attempt: 1 },
        bench.context(AbortSignal.abort(new Error("enough"))),
      ),
    );
    expect(error).to.have.property("message", "enough");
    await expectOnlyTheUpload();
  });

  it("are of gzip too: a packed file counts as the file in it", async () => {
    const loose = await hostile.run(gzipSync(json(plays(120))), { filename: "endsong.json.gz" });
    expect(loose).to.deep.include({
      status: "completed",
      parts: ["endsong.json: done"],
      counts: [120, 120, 0, 0, 0],
    });
    const mixed = await hostile.run(
      buildZip([{ name: "x/a.json.gz", data: gzipSync(json(plays(30))) }, file("b.json", 30, 20)]),
    );
    expect(mixed).to.deep.include({
      status: "completed",
      parts: ["b.json: done", "x/a.json: done"],
      counts: [60, 50, 10, 0, 0],
    });
    expect((await hostile.spool()).every((name) => KEY.test(name))).to.equal(true);
  });

  it("are of gzip too: what is whole of a packed file that is cut short or damaged is kept", async () => {
    const packed = gzipSync(json(plays(2000)));
    const options = { filename: "x.json.gz", batchRows: 1000 };
    const cut = await hostile.run(packed.subarray(0, packed.length - 200), options);
    expect(cut.status).to.equal("completed_with_errors");
    expect(cut.parts).to.deep.equal(["x.json: failed file_truncated"]);
    expect(cut.rows).to.be.within(1500, 1999);
    expect(cut.counts).to.deep.equal([cut.rows, cut.rows, 0, 0, 0]);

    const extended = await hostile.run(Buffer.concat([packed, Buffer.from("and more")]), options);
    expect(extended).to.deep.include({ parts: ["x.json: failed entry_corrupt"], rows: 2000 });

    const bomb = await hostile.run(gzipSync(Buffer.alloc(20 * 1024 ** 2, " ")), options);
    expect(bomb).to.deep.include({ status: "failed", code: "archive_limit", rows: 0 });
    expect(bomb.message).to.contain("200 times");

    const user = await insertUser(pool());
    const damaged = Buffer.from(packed);
    damaged.writeUInt8(damaged.readUInt8(packed.length - 3000) ^ 0xff, packed.length - 3000);
    const first = await importJob(bench, user, await bench.job(user, damaged, { batchRows: 1000 }));
    const again = await importJob(bench, user, await bench.job(user, damaged, { batchRows: 1000 }));
    expect(first.parts).to.deep.equal(["upload.json: failed entry_corrupt"]);
    // Behind the damaged place nonsense may come before the checksum tells; it is the same nonsense every time.
    const [read = 0, inserted = 0, duplicate = 0, skipped, rejected] = first.counts;
    expect(inserted).to.be.within(1000, 1999);
    expect(again.counts).to.deep.equal([read, 0, inserted + duplicate, skipped, rejected]);
  });
});
