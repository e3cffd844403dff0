/** Words get lost on the way: the answer to a COMMIT, or all that a worker tells Temporal. Each batch is counted once. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import pg from "pg";
import { createRealWorker } from "../../activities/realWorker.js";
import type { RealWorker } from "../../activities/realWorker.js";
import { json, plays } from "../../services/import/importing.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { testStack } from "../../support/stack.js";
import { startTcpProxy } from "../../support/tcpProxy.js";
import type { TcpProxy } from "../../support/tcpProxy.js";
import { insertUser } from "../../support/users.js";
import { zip } from "../../support/zip.js";
import { expectNothingLeft, outcomeOf, undisturbed } from "../outcome.js";

/** 5,298 records in 54 batches of two files, with repeats inside and across them. */
const UPLOAD = zip([
  { name: "a.json", data: json([...plays(2500), ...plays(300, 2200)]) },
  { name: "b.json", data: json(plays(2498, 2000)) },
]);
const ONE_FILE = json(plays(2000));

describe("imports whose words get lost on the way", function () {
  this.timeout(120_000);
  let db: TestDatabase;
  const workers: RealWorker[] = [];

  before(async () => {
    db = await createTestDatabase();
  });
  afterEach(async () => {
    for (const real of workers.splice(0)) {
      await expectNothingLeft(db.database.pool, real.spoolDir);
      await real.close();
    }
  });
  after(() => db.drop());

  async function crew(options: { readonly databaseUrl?: string } = {}): Promise<RealWorker> {
    const real = await createRealWorker(db, { heartbeatTimeoutMs: 1000, ...options });
    workers.push(real);
    return real;
  }

  it("counts a batch once whose COMMIT was executed but never confirmed", async () => {
    const calm = await undisturbed(db.database.pool, UPLOAD);
    expect(calm.counts).to.deep.include({ read: 5298, inserted: 4498, duplicate: 800 });
    const lost: Promise<Buffer>[] = [];
    const said = new Map<object, string>();
    let armed = false;
    const proxy = await startTcpProxy(db.url, {
      onClientBytes: (bytes, connection) => {
        const text = bytes.toString("latin1");
        const transaction = (text.includes("begin\0") ? "" : (said.get(connection) ?? "")) + text;
        said.set(connection, transaction);
        // Of all transactions of an import only a batch leaves a mark.
        if (!armed || !text.includes("commit\0") || !transaction.includes("into import_batches")) return;
        lost.push(connection.loseAnswer());
        armed = false;
      },
    });
    try {
      const real = await crew({ databaseUrl: proxy.through(db.url) });
      const user = await insertUser(db.database.pool);
      await real.start();
      const { id } = await real.accept(user, UPLOAD);
      for (const records of [500, 2500]) {
        await untilRead(real, user, id, records);
        const before = lost.length;
        armed = true;
        while (lost.length === before) await sleep(5);
      }
      await real.settled(user, id, undefined, 60_000);
      for (const answer of await Promise.all(lost)) expect(answer.toString("latin1")).to.include("COMMIT\0");
      expect(lost).to.have.lengthOf(2);
      expect(await outcomeOf(db.database.pool, id)).to.deep.equal(calm);
    } finally {
      await proxy.close();
    }
  });

  it("counts each batch once when a worker whose heartbeats get lost works on beside its successor", async () => {
    const expected = await undisturbed(db.database.pool, ONE_FILE, { filename: "upload.json" });
    const temporal = `http://${testStack().temporalAddress}`;
    const proxy: TcpProxy = await startTcpProxy(temporal);
    const gate = new pg.Client({ connectionString: db.url });
    try {
      const real = await crew();
      const user = await insertUser(db.database.pool);
      const named = (name: string) => ({ DATABASE_URL: `${db.url}?application_name=${name}` });
      const first = await real.start({ TEMPORAL_ADDRESS: proxy.address, ...named("first") });
      const { id } = await real.accept(user, ONE_FILE);
      await untilRead(real, user, id, 300);
      // Nobody commits a batch of this user until the gate opens, so both have the same one in hand by then.
      await gate.connect();
      await gate.query("select pg_advisory_lock(hashtextextended('playlog user ' || $1::text, 0))", [user]);
      // Temporal must not go on handing it work that never arrives.
      proxy.strand();
      await real.start(named("second"));
      await untilWaiting(db.database.pool, ["first", "second"]);
      const before = await real.service.find(user, id);
      expect(before.counts.read).to.be.below(2000);
      await gate.end();
      await real.settled(user, id, undefined, 60_000);
      expect(await outcomeOf(db.database.pool, id)).to.deep.equal(expected);
      // The first goes on without knowing better, until it has heard of nothing but marks.
      await untilIdle(db.database.pool, "first");
      await first.stop("SIGKILL");
      expect(await outcomeOf(db.database.pool, id)).to.deep.equal(expected);
    } finally {
      await gate.end().catch(() => undefined);
      await proxy.close();
    }
  });
});

async function untilRead(real: RealWorker, userId: string, id: string, records: number): Promise<void> {
  for (;;) {
    const job = await real.service.find(userId, id);
    if (job.counts.read >= records || job.finishedAt !== null) return;
    await sleep(10);
  }
}

/** Resolves when connections of all these names wait for an advisory lock. */
async function untilWaiting(pool: pg.Pool, names: readonly string[]): Promise<void> {
  for (let tries = 0; tries < 1000; tries += 1) {
    const { rows } = await pool.query<{ waiting: number }>(
      `select count(distinct application_name)::int as waiting from pg_stat_activity
        where application_name = any($1) and wait_event_type = 'Lock' and wait_event = 'advisory'`,
      [names],
    );
    if (rows[0]?.waiting === names.length) return;
    await sleep(20);
  }
  throw new Error(`not all of ${names.join(", ")} came to wait`);
}

async function untilIdle(pool: pg.Pool, name: string): Promise<void> {
  let quiet = 0;
  while (quiet < 10) {
    const { rows } = await pool.query<{ busy: number }>(
      "select count(*)::int as busy from pg_stat_activity where application_name = $1 and state <> 'idle'",
      [name],
    );
    quiet = rows[0]?.busy === 0 ? quiet + 1 : 0;
    await sleep(20);
  }
}
