import { expect } from "chai";
import type { TemporalImportQueue } from "../../../services/import/queues/TemporalImportQueue.js";
import { AccountEraser, type EraserDependencies } from "../../../services/users/AccountEraser.js";
import { requestErase, startErases } from "../../../services/users/erasing.js";
import {
  createBench,
  digestOf,
  type ImportBench,
  json,
  plays,
  queueAt,
  quietLog,
} from "../import/importing.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { insertEverything, tablesOfUsers, tracesOf } from "../../support/everything.js";
import { insertPlays } from "../../support/plays.js";
import { freePort } from "../../support/processes.js";
import { rejection } from "../../support/rejection.js";
import { testStack } from "../../support/stack.js";
import { until } from "../../support/until.js";
import { insertUser } from "../../support/users.js";

const BATCH_ROWS = 40;

describe("services/users/AccountEraser", function () {
  this.timeout(30_000);
  let db: TestDatabase;
  let bench: ImportBench;
  let queue: TemporalImportQueue;
  let away: TemporalImportQueue;
  let eraser: AccountEraser;
  const forgotten: string[][] = [];
  const disconnected: string[] = [];

  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
    queue = queueAt(testStack().temporalAddress);
    away = queueAt(`127.0.0.1:${await freePort()}`);
    eraser = another(bench.blobs);
  });
  after(async () => {
    await Promise.all([queue.close(), away.close()]);
    await bench.close();
    await db.drop();
  });

  const pool = () => db.database.pool;
  const another = (store: EraserDependencies["blobs"], redis = true): AccountEraser =>
    new AccountEraser({
      pool: pool(),
      blobs: store,
      queue,
      log: quietLog,
      batchRows: BATCH_ROWS,
      forgetConnections: (userId) => {
        disconnected.push(userId);
        return Promise.resolve();
      },
      forgetCached: (ids) => {
        forgotten.push([...ids]);
        return Promise.resolve(redis);
      },
    });
  const work = (signal = new AbortController().signal, heartbeat = (): void => {}) => ({ signal, heartbeat });
  const asked = (user: string) => requestErase({ pool: pool(), queue, log: quietLog }, user);
  const blobs = async (): Promise<string[]> => {
    const keys: string[] = [];
    for await (const key of bench.blobs.keysOlderThan(0)) keys.push(key);
    return keys;
  };

  /** With two imports, one of which brought half of what is in the other, and a row in every table. */
  async function account(): Promise<string> {
    const user = await insertUser(pool());
    await bench.run(await bench.job(user, json([...plays(200), { not: "a play" }]), { batchRows: 50 }));
    await bench.run(await bench.job(user, json(plays(200, 100)), { batchRows: 50 }));
    const [leader] = await insertPlays(pool(), user, [{ playedAt: "2024-01-01T00:00:00Z" }]);
    await insertPlays(pool(), user, [{ playedAt: "2024-01-01T00:00:00Z", duplicateOf: leader! }]);
    await insertEverything(pool(), user);
    return user;
  }

  it("leaves no row, no upload and no key of the account, and what others have as it was", async () => {
    const [user, other] = [await account(), await account()];
    for (const table of await tablesOfUsers(pool())) {
      const column = table === "users" ? "id" : "user_id";
      const { rowCount } = await pool().query(`select from ${table} where ${column} = $1`, [user]);
      expect(rowCount, `${table}: add a row to test/support/everything.ts`).to.be.above(0);
    }
    const before = { plays: await digestOf(pool(), other), blobs: await blobs() };
    const catalogue = await pool().query("select id, title from tracks order by id");
    const own = await pool().query<{ id: string; blob_key: string | null }>(
      "select id, blob_key from import_jobs where user_id = $1 union all select id, null from sessions where user_id = $1",
      [user],
    );

    await asked(user);
    expect(await eraser.stopImports(user)).to.deep.equal({ underWay: 0 });
    expect(await eraser.erase(user, work())).to.deep.equal({ plays: 302, imports: 3, finished: true });

    const words = [user, ...own.rows.map(({ id }) => id)];
    expect(await tracesOf(pool(), words)).to.deep.equal({});
    const gone = own.rows.map(({ blob_key }) => blob_key);
    expect(await blobs()).to.have.members(before.blobs.filter((key) => !gone.includes(key)));
    expect(disconnected).to.deep.equal([user]);
    expect(forgotten.at(-1)).to.include.members([user, own.rows.at(-1)!.id]);
    expect(await digestOf(pool(), other)).to.deep.equal(before.plays);
    expect((await tracesOf(pool(), [other]))["import_jobs"]).to.equal(3);
    expect((await pool().query("select id, title from tracks order by id")).rows).to.deep.equal(
      catalogue.rows,
    );
  });

  it("may be broken off between any two batches, begun again, and run twice at once", async () => {
    const user = await account();
    await asked(user);
    const before = (await digestOf(pool(), user)).rows;
    for (const beats of [0, 1, 1]) {
      const stop = new AbortController();
      let left = beats;
      const beat = (): void => {
        left -= 1;
        if (left < 0) stop.abort(new Error("the worker stops"));
      };
      const error = await rejection(eraser.erase(user, work(stop.signal, beat)));
      expect(error).to.have.property("message", "the worker stops");
    }
    const rows = (await digestOf(pool(), user)).rows;
    expect(rows).to.be.within(1, before - 1);
    await rejection(
      another({ delete: () => Promise.reject(new Error("the disk is away")) }).erase(user, work()),
    );
    expect((await digestOf(pool(), user)).rows).to.equal(0);
    await insertPlays(pool(), user, [{ playedAt: "2024-01-01T00:00:00Z" }]);
    const both = await Promise.all([eraser.erase(user, work()), eraser.erase(user, work())]);
    expect(both.reduce((sum, step) => sum + step.plays, 0)).to.equal(1);
    expect(await tracesOf(pool(), [user])).to.deep.equal({});
    expect(await eraser.erase(user, work())).to.deep.equal({ plays: 0, imports: 0, finished: true });
  });

  it("touches nothing of an account that nobody asked to erase", async () => {
    const user = await account();
    await pool().query("update users set disabled_at = now() where id = $1", [user]);
    const before = await tracesOf(pool(), [user]);
    expect(await eraser.erase(user, work())).to.deep.equal({ plays: 0, imports: 0, finished: true });
    expect(await tracesOf(pool(), [user])).to.deep.equal(before);
  });

  it("brings imports to rest first: closes what has not begun, asks what runs, and waits for it", async () => {
    const user = await insertUser(pool());
    const [waiting, running] = [
      await bench.job(user, json(plays(10))),
      await bench.job(user, json(plays(10, 10))),
    ];
    const ref = { kind: "import", importId: running, attempt: 1 } as const;
    await queue.enqueue({ ...ref, userId: user, provider: null, jobKind: "file" });
    await bench.steps.prepare(ref, bench.context());
    await asked(user);
    expect(await eraser.stopImports(user)).to.deep.equal({ underWay: 1 });
    const { rows } = await pool().query<{ id: string; status: string }>(
      "select id, status from import_jobs where user_id = $1 order by status",
      [user],
    );
    expect(rows).to.have.deep.members([
      { id: waiting, status: "cancelled" },
      { id: running, status: "cancelling" },
    ]);
    await bench.steps.finish(ref, { outcome: "cancelled" });
    // Its row is closed; its run has not heard of it, for nobody works.
    expect(await eraser.stopImports(user)).to.deep.equal({ underWay: 1 });
    await queue.forget(ref);
    await until("its run is gone", async () => (await queue.inspect(ref)) === "missing");
    expect(await eraser.stopImports(user)).to.deep.equal({ underWay: 0 });
    expect(await eraser.erase(user, work())).to.include({ imports: 2, finished: true });
  });

  it("begins again when something has come in meanwhile, and keeps the account until then", async () => {
    const user = await account();
    await asked(user);
    const late = another({
      async delete(key) {
        await insertPlays(pool(), user, [{ playedAt: "2024-01-01T00:00:00Z" }]);
        await bench.blobs.delete(key);
      },
    });
    expect(await late.erase(user, work())).to.deep.equal({ plays: 302, imports: 3, finished: false });
    expect((await tracesOf(pool(), [user]))["users"]).to.equal(1);
    expect(await eraser.erase(user, work())).to.deep.equal({ plays: 2, imports: 0, finished: true });
  });

  it("goes on without Redis, whose keys expire", async () => {
    const user = await account();
    await asked(user);
    expect(await another(bench.blobs, false).erase(user, work())).to.include({ finished: true });
    expect(await tracesOf(pool(), [user])).to.deep.equal({});
  });

  it("is asked for once and durably: also when the queue is away, and when it has lost it", async () => {
    const user = await account();
    await requestErase({ pool: pool(), queue: away, log: quietLog }, user);
    await requestErase({ pool: pool(), queue: away, log: quietLog }, user);
    const { rows } = await pool().query<{ off: boolean; alive: number }>(
      `select disabled_at is not null and erase_requested_at is not null as off,
              (select count(*)::integer from sessions where user_id = $1 and revoked_at is null)
            + (select count(*)::integer from api_tokens where user_id = $1 and revoked_at is null)
            + (select count(*)::integer from connections where user_id = $1 and not paused) as alive
         from users where id = $1`,
      [user],
    );
    expect(rows).to.deep.equal([{ off: true, alive: 0 }]);
    const ref = { kind: "erase", userId: user } as const;
    expect(await queue.inspect(ref)).to.equal("missing");
    await startErases({ pool: pool(), queue, log: quietLog });
    expect(await queue.inspect(ref)).to.equal("open");
    expect(await startErases({ pool: pool(), queue, log: quietLog })).to.equal(0);
    await queue.forget(ref);
    await until("its run is gone", async () => (await queue.inspect(ref)) === "missing");
    expect(await startErases({ pool: pool(), queue, log: quietLog })).to.equal(1);
    await queue.forget(ref);
    await eraser.erase(user, work());
  });
});
