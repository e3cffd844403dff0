import { expect } from "chai";
import { ApplicationFailure } from "@temporalio/common";
import { toFailure } from "../../../activities/failures.js";
import { createDatabase } from "../../../db/knex.js";
import { NO_OBSERVER } from "../../../services/import/observer.js";
import { ImportError } from "../../../services/import/verdicts.js";
import { noteWaiting, outageOf } from "../../../services/import/waiting.js";
import { storageError } from "../../../services/storage/diskErrors.js";
import { createTestDatabase, databaseSettings } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { untilBlocked } from "../../support/locks.js";
import { rejection } from "../../support/rejection.js";
import { startTcpProxy } from "../../support/tcpProxy.js";
import { insertUser } from "../../support/users.js";
import { createBench, json, plays } from "./importing.js";
import type { ImportBench } from "./importing.js";

const systemError = (code: string): Error => Object.assign(new Error(code), { code, errno: -1 });
const NOBODY_LISTENS = "postgres://playlog@127.0.0.1:1/playlog";

describe("an import that waits for a dependency", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = () => db.database.pool;

  /** What the server says when `sql` raises a state of its own choosing. */
  const raised = (state: string): Promise<unknown> =>
    rejection(
      pool().query(`do $$ begin raise exception 'quotes a title' using errcode = '${state}'; end $$`),
    );

  async function unreachable(): Promise<unknown> {
    const away = createDatabase(databaseSettings(NOBODY_LISTENS), { applicationName: "playlog-away" });
    try {
      return await rejection(away.pool.query("select 1"));
    } finally {
      await away.close();
    }
  }

  /** Every connection of a pool in use for longer than it is worth waiting. */
  async function exhausted(): Promise<unknown> {
    const settings = { ...databaseSettings(db.url), poolMax: 1, connectTimeoutMs: 200 };
    const small = createDatabase(settings, { applicationName: "playlog-small" });
    const client = await small.pool.connect();
    try {
      return await rejection(small.pool.query("select 1"));
    } finally {
      client.release();
      await small.close();
    }
  }

  async function cutOff(): Promise<unknown> {
    const proxy = await startTcpProxy(db.url);
    const away = createDatabase(databaseSettings(proxy.through(db.url)), { applicationName: "playlog-away" });
    try {
      const client = await away.pool.connect();
      client.on("error", () => {}); // it is told to the query as well
      const waiting = rejection(client.query("select pg_sleep(30)"));
      proxy.cut();
      const error = await waiting;
      client.release(true);
      return error;
    } finally {
      await away.close();
      await proxy.close();
    }
  }

  it("tells a full disk from a database that is out, and both from errors of its own", async () => {
    for (const state of ["57P01", "57P02", "57P03", "53300", "08006", "25006", "55P03"])
      expect(outageOf(await raised(state)), state).to.equal("database");
    expect(outageOf(await raised("53100"))).to.equal("storage_full");
    for (const state of ["57014", "40001", "40P01", "22001", "23505", "42P01"])
      expect(outageOf(await raised(state)), state).to.equal(null);

    expect(outageOf(await unreachable())).to.equal("database");
    expect(outageOf(await exhausted())).to.equal("database");
    expect(outageOf(await cutOff())).to.equal("database");

    for (const code of ["ENOSPC", "EDQUOT"]) {
      expect(outageOf(systemError(code))).to.equal("storage_full");
      expect(outageOf(storageError(systemError(code)))).to.equal("storage_full");
      expect(outageOf(new Error("wrapped", { cause: systemError(code) }))).to.equal("storage_full");
    }
    expect(outageOf(storageError(systemError("EIO")))).to.equal(null);
    expect(outageOf(new ImportError("storage_lost"))).to.equal(null);
    expect(outageOf("no error at all")).to.equal(null);
  });

  it("is tried again soon and steadily for what will pass, ever later for the rest, and never for what is lost", async () => {
    const { signal } = new AbortController();
    const failure = (error: unknown, tries = 1): ApplicationFailure => {
      const result = toFailure(error, signal, { tries, outageRetryMs: 1234 });
      expect(result).to.be.instanceOf(ApplicationFailure);
      return result as ApplicationFailure;
    };
    const passing = [
      await raised("57P01"),
      await raised("53100"),
      await unreachable(),
      storageError(systemError("ENOSPC")),
      storageError(systemError("EIO")),
    ];
    for (const error of passing)
      for (const tries of [1, 50])
        expect(failure(error, tries)).to.include({ nextRetryDelay: 1234, nonRetryable: false });
    for (const error of [await raised("40P01"), await raised("57014"), new Error("a fault")]) {
      expect(failure(error).nonRetryable).to.equal(false);
      const pauses = [1, 2, 3, 4, 8, 9, 1000].map((tries) => failure(error, tries).nextRetryDelay);
      expect(pauses).to.deep.equal([1000, 2000, 4000, 8000, 120_000, 120_000, 120_000]);
    }
    expect(failure(new ImportError("storage_lost"))).to.include({
      type: "storage_lost",
      nonRetryable: true,
    });
    // Messages of the server may quote what somebody listened to.
    const told = failure(await raised("53100"));
    expect([told.type, told.message]).to.deep.equal(["database", "The database reported 53100"]);
  });

  describe("in its row", () => {
    const waiting = async (id: string) =>
      (
        await pool().query<{ waiting_reason: string | null; version: number }>(
          "select waiting_reason, version from import_jobs where id = $1",
          [id],
        )
      ).rows[0]!;
    const note = (id: string, attempt: number | null = 1) =>
      noteWaiting({ pool: pool(), observer: NO_OBSERVER }, id, attempt, "storage_full");
    const job = async (records = 5) => bench.job(await insertUser(pool()), json(plays(records)));

    it("says so once, and tells the observer each time", async () => {
      const id = await job();
      const before = await waiting(id);
      const told: string[] = [];
      const observer = {
        ...NO_OBSERVER,
        waiting: ({ reason }: { reason: string }) => void told.push(reason),
      };
      await noteWaiting({ pool: pool(), observer }, id, 1, "database");
      await noteWaiting({ pool: pool(), observer }, id, 1, "database");
      expect(await waiting(id)).to.deep.equal({ waiting_reason: "database", version: before.version + 1 });
      expect(told).to.deep.equal(["database", "database"]);
    });

    it("says so until a part begins, a batch is committed, or the import closes", async () => {
      const id = await job(2500); // enough batches for the note to come before the last
      const ref = { importId: id, attempt: 1 };
      await bench.steps.prepare(ref, bench.context());
      await note(id);
      expect((await waiting(id)).waiting_reason).to.equal("storage_full");

      const seen: Promise<unknown>[] = [];
      const watching = await createBench(pool(), {
        blobs: bench.blobs,
        onCommit: ({ batchNo }, moment) => {
          if (moment === "before-commit" && batchNo === 0)
            seen.push(waiting(id).then((state) => note(id).then(() => state)));
        },
      });
      await watching.steps.importPart(ref, 0, watching.context());
      await watching.close();
      const [atFirstCommit] = await Promise.all(seen);
      expect(atFirstCommit).to.include({ waiting_reason: null });
      expect((await waiting(id)).waiting_reason).to.equal(null);

      await note(id);
      await bench.steps.finish(ref, { outcome: "completed" });
      expect((await waiting(id)).waiting_reason).to.equal(null);
      await note(id);
      expect((await waiting(id)).waiting_reason).to.equal(null);
    });

    it("shows first what its owner asked for, and nothing of another attempt or of work that is none", async () => {
      const id = await job();
      await pool().query(
        "update import_jobs set status = 'paused', waiting_reason = 'paused_by_user' where id = $1",
        [id],
      );
      await note(id);
      expect((await waiting(id)).waiting_reason).to.equal("paused_by_user");
      const other = await job();
      await note(other, 2);
      await note(other, null);
      expect((await waiting(other)).waiting_reason).to.equal(null);
    });

    it("keeps what its owner asked for while the last batch before the pause is committed", async () => {
      const id = await job();
      const ref = { importId: id, attempt: 1 };
      await bench.steps.prepare(ref, bench.context());
      const blocker = await pool().connect();
      try {
        // Holds the batch up where it writes its plays, after its look at the job.
        await blocker.query("begin");
        await blocker.query("lock table listening_history in share mode");
        const importing = bench.steps.importPart(ref, 0, bench.context());
        await untilBlocked(pool());
        await pool().query(
          "update import_jobs set status = 'paused', waiting_reason = 'paused_by_user' where id = $1",
          [id],
        );
        await blocker.query("rollback");
        expect(await importing).to.deep.equal({ status: "done", read: 5, inserted: 5 });
      } finally {
        blocker.release();
      }
      expect((await waiting(id)).waiting_reason).to.equal("paused_by_user");
    });

    it("is not held up by a database that does not answer", async () => {
      const away = createDatabase(databaseSettings(NOBODY_LISTENS), { applicationName: "playlog-away" });
      await noteWaiting({ pool: away.pool, observer: NO_OBSERVER }, await job(), 1, "database");
      await away.close();
    });
  });
});
