/** Disks that are full, made of memory: for that the tests must run as root on Linux, and say so when they do not. */
import { execFile } from "node:child_process";
import { chown, mkdir, mkdtemp, readdir, rm, stat, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { expect } from "chai";
import { json, plays } from "../../services/import/importing.js";
import { startPostgres } from "../../support/servers.js";
import type { OwnServer } from "../../support/servers.js";
import { expectNothingLeft, outcomeOf, undisturbed } from "../outcome.js";
import { createService } from "../service.js";
import type { Service } from "../service.js";

const run = promisify(execFile);
const MIB = 1024 ** 2;

/** A file system of its own in memory; undefined where that is not allowed. */
async function mount(folder: string, sizeMiB: number): Promise<boolean> {
  await mkdir(folder, { recursive: true });
  return run("mount", ["-t", "tmpfs", "-o", `size=${sizeMiB}m`, "tmpfs", folder]).then(
    () => true,
    () => false,
  );
}
const unmount = (folder: string): Promise<unknown> => run("umount", ["-l", folder]).catch(() => undefined);

describe("the spool on a disk of 4 MiB", function () {
  this.timeout(60_000);
  let service: Service;
  let mounted = false;

  before(async function () {
    service = await createService();
    mounted = await mount(service.spoolDir, 4);
    if (!mounted) {
      console.log("      skipped: mounting a file system needs root on Linux");
      this.skip();
    }
    await Promise.all([service.startApi(), service.startWorker()]);
  });
  after(async () => {
    if (mounted) await unmount(service.spoolDir);
    await service.close();
  });

  it("refuses what does not fit with 503, keeps nothing of it, and harms no import that is running", async () => {
    const user = await service.user();
    const id = await service.accept(user, json(plays(3000))); // 1.5 MB
    const tooLarge = json(plays(12_000));
    expect(tooLarge.length).to.be.above(4 * MIB);
    const answer = await service.upload(user, tooLarge);
    expect(answer.status).to.equal(503);
    expect(answer.body).to.include({ code: "storage_full" });
    expect(Number(answer.headers.get("retry-after"))).to.be.at.least(1);
    const { body } = await service.client(user).get("/api/v1/imports");
    expect(body.data.map((job: { id: string }) => job.id)).to.deep.equal([id]);
    expect(await readdir(service.spoolDir)).to.have.lengthOf(1);

    expect((await service.closed(id)).status).to.equal("completed");
    expect((await outcomeOf(service.database.pool, id)).history).to.include({ rows: 3000 });
    const small = await service.accept(user, json(plays(10, 50_000)));
    expect((await service.closed(small)).status).to.equal("completed");
    await expectNothingLeft(service.database.pool, service.spoolDir);
  });
});

describe("PostgreSQL on a disk that fills up", function () {
  this.timeout(240_000);
  const upload = json(plays(20_000));
  let postgres: OwnServer | undefined;
  let service: Service | undefined;
  let disk: string | undefined;
  let mounted = false;

  before(async function () {
    disk = await mkdtemp(path.join(tmpdir(), "playlog-disk-"));
    mounted = await mount(disk, 64);
    if (!mounted) {
      console.log("      skipped: mounting a file system needs root on Linux");
      this.skip();
    }
    postgres = await startPostgres();
    const { uid, gid } = await stat(`/proc/${postgres.pid}`);
    await chown(disk, uid, gid);
    service = await createService({ databaseUrl: postgres.url });
    await service.database.pool.query(`create tablespace small location '${disk}'`);
    await service.database.pool.query("alter table listening_history set tablespace small");
  });
  after(async () => {
    await service?.close();
    await postgres?.close();
    if (disk !== undefined && mounted) await unmount(disk);
    if (disk !== undefined) await rm(disk, { recursive: true, force: true });
  });

  it("waits and says for what, lets everybody read, and goes on without a restart once there is room", async () => {
    const used = service!;
    const { pool } = used.database;
    const calm = await undisturbed(pool, upload, { filename: "upload.json" });
    await Promise.all([used.startApi(), used.startWorker()]);
    const user = await used.user();
    const id = await used.accept(user, upload);
    await used.untilRead(id, 2000);
    const ballast = path.join(disk!, "ballast");
    const { bavail, bsize } = await statfs(disk!);
    await writeFile(ballast, Buffer.alloc(bavail * bsize)).catch(() => undefined); // as much as there is room for

    const show = async () => (await used.client(user).get(`/api/v1/imports/${id}`)).body;
    while ((await show()).waiting?.reason !== "storage_full") {
      expect((await show()).finishedAt, "it ended before the disk was full").to.equal(null);
      await sleep(50);
    }
    for (const address of ["/api/v1/listening-history", "/api/v1/imports", "/health/ready"])
      expect((await used.client(user).get(address)).status).to.equal(200);
    expect((await show()).status).to.equal("running");

    await rm(ballast);
    await used.closed(id);
    expect(await outcomeOf(pool, id)).to.deep.equal(calm);
    expect((await show()).waiting).to.equal(null);
    await expectNothingLeft(pool, used.spoolDir);
  });
});
