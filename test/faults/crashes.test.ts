import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import pg from "pg";
import { createDatabase } from "../../db/knex.js";
import { migrateToLatest } from "../../db/migrate.js";
import { readRecord } from "../../dev/home.mjs";
import { startStack } from "../../dev/stack.js";
import type { Stack } from "../../dev/stack.js";
import { createRealWorker } from "../activities/realWorker.js";
import type { RealWorker } from "../activities/realWorker.js";
import { createBench, digestOf, json, play, plays, podcast } from "../services/import/importing.js";
import { createTestDatabase, databaseSettings } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";
import { insertUser } from "../support/users.js";
import { zip } from "../support/zip.js";

/** 5,300 records in 53 batches of two parts, with repeats inside and across them, podcasts and a broken row. */
const UPLOAD = zip([
  { name: "a.json", data: json([...plays(2500), ...plays(300, 2200), podcast(1), { ...play(1), ts: "?" }]) },
  { name: "b.json", data: json(plays(2498, 2000)) },
]);

interface Outcome {
  readonly status: string;
  readonly counts: object;
  readonly reasons: object;
  readonly history: object;
}

async function outcomeOf(db: TestDatabase, real: RealWorker, userId: string, id: string): Promise<Outcome> {
  const job = await real.settled(userId, id, undefined, 60_000);
  const { status, counts, duplicate, skipped, rejected } = job;
  const markers = await db.database.pool.query<{ sum: number; markers: number }>(
    "select sum(read)::bigint as sum, count(*)::bigint as markers from import_batches where job_id = $1",
    [id],
  );
  expect(markers.rows[0]).to.deep.equal({ sum: counts.read, markers: 54 });
  return {
    status,
    counts,
    reasons: { duplicate, skipped, rejected },
    history: await digestOf(db.database.pool, userId),
  };
}

/** The same upload by the same steps, with nobody dying: in this process, one step after the other. */
async function inPeace(db: TestDatabase, real: RealWorker): Promise<Outcome> {
  const bench = await createBench(db.database.pool);
  try {
    const user = await insertUser(db.database.pool);
    const id = await bench.job(user, UPLOAD, { filename: "export.zip" });
    await bench.run(id);
    return await outcomeOf(db, real, user, id);
  } finally {
    await bench.close();
  }
}

async function untilRead(real: RealWorker, userId: string, id: string, records: number): Promise<void> {
  for (;;) {
    const job = await real.service.find(userId, id).catch(() => undefined);
    if ((job?.counts.read ?? 0) >= records || job?.finishedAt != null) return;
    await sleep(10);
  }
}

describe("imports while things die", function () {
  this.timeout(120_000);

  describe("the worker, by kill -9", () => {
    let db: TestDatabase;
    let real: RealWorker;
    let undisturbed: Outcome;

    before(async () => {
      db = await createTestDatabase();
      real = await createRealWorker(db, { heartbeatTimeoutMs: 1000 });
      undisturbed = await inPeace(db, real);
      expect(undisturbed.counts).to.deep.include({ read: 5300, inserted: 4498, rejected: 1, skipped: 1 });
    });
    after(async () => {
      await real.close();
      await db.drop();
    });

    it("ends with the same rows as if nothing had happened, and so it does when stopped by SIGTERM", async () => {
      const user = await insertUser(db.database.pool);
      let id: string | undefined;
      for (const place of ["0:0:before-commit", "1:12:after-commit"]) {
        const doomed = await real.start({ PLAYLOG_KILL_AT: place });
        id ??= (await real.accept(user, UPLOAD)).id;
        const [, signal] = (await once(doomed.child, "exit")) as [number | null, string | null];
        expect(signal).to.equal("SIGKILL");
      }
      const calm = await real.start();
      expect(await outcomeOf(db, real, user, id!)).to.deep.equal(undisturbed);

      const other = await insertUser(db.database.pool);
      const second = await real.accept(other, UPLOAD);
      await untilRead(real, other, second.id, 1000);
      expect(await calm.stop("SIGTERM")).to.equal(0);
      await real.start();
      expect(await outcomeOf(db, real, other, second.id)).to.deep.equal(undisturbed);
    });
  });

  describe("PostgreSQL and Temporal, by kill -9", () => {
    let stack: Stack;
    let db: TestDatabase;
    let real: RealWorker;
    let undisturbed: Outcome;

    before(async () => {
      // Its own servers: killing those of the whole run would be felt by other tests.
      stack = await startStack({
        fsync: false,
        env: { REDIS_URL: process.env["REDIS_URL"] },
        note: () => {},
      });
      const url = stack.databaseUrl;
      await migrateToLatest(url);
      const database = createDatabase(databaseSettings(url), { applicationName: "playlog-fault-test" });
      db = { url, database, drop: () => database.close() };
      real = await createRealWorker(db, {
        heartbeatTimeoutMs: 1000,
        temporalAddress: stack.temporalAddress,
      });
      undisturbed = await inPeace(db, real); // before there is a worker, which would take care of the job
      await real.start();
    });
    after(async () => {
      await real.close();
      await db.drop();
      await stack.stop();
    });

    async function kill(name: "postgres" | "temporal"): Promise<void> {
      const server = (await readRecord(stack.folder))?.servers.find((each) => each.name === name);
      if (server === undefined) throw new Error(`no ${name} in the record of the keeper`);
      process.kill(server.pid, "SIGKILL");
    }

    it("ends with the same rows when PostgreSQL dies twice in the middle", async () => {
      const user = await insertUser(db.database.pool);
      const { id } = await real.accept(user, UPLOAD);
      for (const records of [500, 3000]) {
        await untilRead(real, user, id, records);
        await kill("postgres");
        await untilAnswers(db.url);
      }
      expect(await outcomeOf(db, real, user, id)).to.deep.equal(undisturbed);
    });

    it("ends with the same rows when Temporal dies in the middle", async () => {
      const user = await insertUser(db.database.pool);
      const { id } = await real.accept(user, UPLOAD);
      await untilRead(real, user, id, 1000);
      await kill("temporal");
      expect(await outcomeOf(db, real, user, id)).to.deep.equal(undisturbed);
    });
  });
});

async function untilAnswers(url: string): Promise<void> {
  for (;;) {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("select 1");
      return;
    } catch {
      await sleep(50);
    } finally {
      await client.end().catch(() => {});
    }
  }
}
