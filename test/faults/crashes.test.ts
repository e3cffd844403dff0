/** The worker dies: what it had in hand is done once, by whoever comes next. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { createRealWorker } from "../activities/realWorker.js";
import type { RealWorker } from "../activities/realWorker.js";
import { json, play, plays, podcast } from "../services/import/importing.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";
import { insertUser } from "../support/users.js";
import { zip } from "../support/zip.js";
import { expectNothingLeft, outcomeOf, undisturbed } from "./outcome.js";
import type { Outcome } from "./outcome.js";

/** 5,300 records in 54 batches of two files, with repeats inside and across them, podcasts and a broken record. */
const UPLOAD = zip([
  { name: "a.json", data: json([...plays(2500), ...plays(300, 2200), podcast(1), { ...play(1), ts: "?" }]) },
  { name: "b.json", data: json(plays(2498, 2000)) },
]);

describe("imports while the worker dies", function () {
  this.timeout(120_000);
  let db: TestDatabase;
  let calm: Outcome;
  const workers: RealWorker[] = [];

  before(async () => {
    db = await createTestDatabase();
    calm = await undisturbed(db.database.pool, UPLOAD);
    expect(calm.counts).to.deep.include({ read: 5300, inserted: 4498, rejected: 1, skipped: 1 });
    expect(calm.batches).to.equal(54);
  });
  afterEach(async () => {
    for (const real of workers.splice(0)) {
      await expectNothingLeft(db.database.pool, real.spoolDir);
      await real.close();
    }
  });
  after(() => db.drop());

  async function crew(): Promise<RealWorker> {
    const real = await createRealWorker(db, { heartbeatTimeoutMs: 1000 });
    workers.push(real);
    return real;
  }

  const dies = async (doomed: Awaited<ReturnType<RealWorker["start"]>>): Promise<void> => {
    const [, signal] = (await once(doomed.child, "exit")) as [number | null, string | null];
    expect(signal).to.equal("SIGKILL");
  };

  /** The worker is killed at one place after the other, and the last one is left alone. */
  async function throughKills(places: readonly string[]): Promise<void> {
    const real = await crew();
    const user = await insertUser(db.database.pool);
    let id: string | undefined;
    for (const place of places) {
      const death = dies(await real.start({ PLAYLOG_KILL_AT: place }));
      id ??= (await real.accept(user, UPLOAD)).id;
      await death;
    }
    await real.start();
    await real.settled(user, id!, undefined, 60_000);
    expect(await outcomeOf(db.database.pool, id!), places.join(", ")).to.deep.equal(calm);
  }

  it("ends with the same rows when it is killed around a COMMIT, before the first batch and after the last", async () => {
    await Promise.all([
      throughKills(["0:0:before-commit", "0:28:after-commit"]),
      throughKills(["1:12:before-commit", "1:13:after-commit"]),
    ]);
  });

  it("ends with the same rows when it is told to stop in the middle, which it does with exit code 0", async () => {
    const real = await crew();
    const user = await insertUser(db.database.pool);
    const first = await real.start();
    const { id } = await real.accept(user, UPLOAD);
    await untilRead(real, user, id, 1000);
    expect(await first.stop("SIGTERM")).to.equal(0);
    await real.start();
    await real.settled(user, id, undefined, 60_000);
    expect(await outcomeOf(db.database.pool, id)).to.deep.equal(calm);
  });
});

async function untilRead(real: RealWorker, userId: string, id: string, records: number): Promise<void> {
  for (;;) {
    const job = await real.service.find(userId, id);
    if (job.counts.read >= records || job.finishedAt !== null) return;
    await sleep(10);
  }
}
