/** A provider that hangs, and everybody else's work meanwhile: with the worker's own process, on each queue. */
import type { ServerResponse } from "node:http";
import { expect } from "chai";
import { ACTIVITY_SLOTS, SYNC_SLOTS } from "../../activities/slots.js";
import { openSync } from "../../services/connections/syncing/openSync.js";
import { insertConnection } from "../services/connections/syncBench.js";
import { json, plays, quietLog } from "../services/import/importing.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";
import { json as answer } from "../support/providers/exchange.js";
import { startStandIn } from "../support/providers/standIn.js";
import type { StandIn } from "../support/providers/standIn.js";
import { testStack } from "../support/stack.js";
import { insertUser } from "../support/users.js";
import { until } from "../workflows/scripted.js";
import { createRealWorker } from "./realWorker.js";
import type { RealWorker } from "./realWorker.js";

/** More than a process lets wait for one provider. */
const HANGING = 12;
const EMPTY = {
  payload: { count: 0, listens: [], latest_listen_ts: 0, oldest_listen_ts: 0, user_id: "ada" },
};

for (const queueName of ["Temporal", "BullMQ"]) {
  describe(`a provider that hangs, with ${queueName}`, function () {
    this.timeout(90_000);
    let db: TestDatabase;
    let standIn: StandIn;
    let real: RealWorker;
    let user: string;
    before(async () => {
      [db, standIn] = await Promise.all([createTestDatabase(), startStandIn()]);
      real = await createRealWorker(db, queueName === "BullMQ" ? { bullRedisUrl: testStack().redisUrl } : {});
      user = await insertUser(db.database.pool);
      await real.start({ ...standIn.environment, PROVIDER_TIMEOUT_MS: "60000" });
    });
    after(async () => {
      await real.close();
      await standIn.stop();
      await db.drop();
    });

    const opened = async (provider: string): Promise<string> => {
      const { pool } = db.database;
      const id = await insertConnection(pool, user, { provider });
      await pool.query("update connections set account = id::text where id = $1", [id]);
      standIn.lastfm.scrobbles.set(id, [{ title: "A", artist: "B", at: 1_750_000_000 }]);
      const deps = { pool, queue: real.queue, log: quietLog, batchRows: 100 };
      const outcome = await openSync(deps, id, { trigger: "user" });
      return "opened" in outcome ? outcome.opened.id : expect.fail("no sync was opened");
    };
    const open = async (ids: readonly string[]): Promise<number> =>
      (
        await db.database.pool.query(
          "select from import_jobs where id = any($1::uuid[]) and status in ('queued', 'running')",
          [ids],
        )
      ).rows.length;

    it("holds up neither the syncs of another nor imports, and then all of its own are done", async () => {
      const held: ServerResponse[] = [];
      standIn.always("/1/user/", (response) => void held.push(response));
      const hanging: string[] = [];
      for (let n = 0; n < HANGING; n += 1) hanging.push(await opened("listenbrainz"));
      await until("all that may ask are waiting", () => held.length >= SYNC_SLOTS);

      const other = await opened("lastfm");
      expect((await real.settled(user, other)).status).to.equal("completed");
      const upload = await real.accept(user, json(plays(20)));
      expect((await real.settled(user, upload.id)).status).to.equal("completed");
      expect(await open(hanging)).to.equal(HANGING);
      expect(held).to.have.length(SYNC_SLOTS);

      standIn.reset();
      standIn.always("/1/user/", answer(200, EMPTY));
      for (const response of held) answer(200, EMPTY)(response);
      for (const id of hanging) expect((await real.settled(user, id)).status).to.equal("completed");
    });

    it("lets syncs end while as many imports as there may be are under way", async () => {
      const { pool } = db.database;
      const holder = await pool.connect();
      const busy = await insertUser(pool);
      try {
        await holder.query("select pg_advisory_lock(hashtextextended('playlog user ' || $1::text, 0))", [
          busy,
        ]);
        const held: string[] = [];
        for (let n = 0; n < ACTIVITY_SLOTS; n += 1)
          held.push((await real.accept(busy, json(plays(20, 20 * n)))).id);
        await until("they have all turns", async () => {
          const waiting = await pool.query(
            "select from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
          );
          return waiting.rows.length >= ACTIVITY_SLOTS;
        });
        const sync = await opened("lastfm");
        expect((await real.settled(user, sync)).status).to.equal("completed");
        expect(await open(held)).to.equal(ACTIVITY_SLOTS);
        await holder.query("select pg_advisory_unlock_all()");
        for (const id of held) expect((await real.settled(busy, id)).status).to.equal("completed");
      } finally {
        await holder.query("select pg_advisory_unlock_all()");
        holder.release();
      }
    });
  });
}
