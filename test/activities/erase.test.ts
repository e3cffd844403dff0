/** An account that is erased while the worker's own process is killed. */
import { expect } from "chai";
import { requestErase } from "../../services/users/erasing.js";
import { json, plays, quietLog } from "../services/import/importing.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";
import { insertEverything, tracesOf } from "../support/everything.js";
import { insertLongHistory } from "../support/plays.js";
import { until } from "../support/until.js";
import { insertUser } from "../support/users.js";
import { createRealWorker } from "./realWorker.js";
import type { RealWorker } from "./realWorker.js";

const PLAYS = 25_000;
const PATIENCE_MS = 60_000;
/** A worker starts only with the keys that the tokens in its database need; those of `insertEverything` open nothing. */
const KEYS = { TOKEN_KEYS: `k1:${Buffer.alloc(32, 1).toString("base64")}` };

describe("an erase", function () {
  this.timeout(120_000);
  let db: TestDatabase;
  let real: RealWorker;
  before(async () => {
    db = await createTestDatabase();
    real = await createRealWorker(db);
  });
  after(async () => {
    await real.close();
    await db.drop();
  });

  it("comes to its end by itself when the worker is killed half way, with an import under way", async () => {
    const { pool } = db.database;
    const [user, other] = [await insertUser(pool), await insertUser(pool)];
    await insertEverything(pool, user);
    await insertEverything(pool, other);
    await insertLongHistory(pool, user, PLAYS);
    await insertLongHistory(pool, other, 100);
    const left = async (): Promise<number> =>
      (
        await pool.query<{ n: number }>(
          "select count(*)::integer as n from listening_history where user_id = $1",
          [user],
        )
      ).rows[0]!.n;
    const first = await real.start(KEYS);
    await real.accept(user, json(plays(5000, 1_000_000)));
    await requestErase({ pool, queue: real.queue, log: quietLog }, user);
    await until("some plays are gone", async () => (await left()) < PLAYS, PATIENCE_MS);
    await first.stop("SIGKILL");
    expect((await pool.query("select from users where id = $1", [user])).rowCount).to.equal(1);

    await real.start(KEYS);
    await until(
      "the account is gone",
      async () => (await pool.query("select from users where id = $1", [user])).rowCount === 0,
      PATIENCE_MS,
    );
    expect(await tracesOf(pool, [user])).to.deep.equal({});
    for await (const key of real.blobs.keysOlderThan(0)) throw new Error(`The upload ${key} is left`);
    expect((await tracesOf(pool, [other]))["listening_history"]).to.equal(100);
  });
});
