import { expect } from "chai";
import { pruneEmptySyncs } from "../../../services/connections/syncing/emptySyncs.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { insertUser } from "../../support/users.js";
import { createBench } from "../import/importing.js";
import type { ImportBench } from "../import/importing.js";
import {
  insertConnection,
  listens,
  openedSync,
  scriptedProvider,
  stepsUntil,
  syncSteps,
} from "./syncBench.js";

const HOUR_S = 60 * 60;

describe("syncs that found nothing", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  let user: string;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
    user = await insertUser(db.database.pool);
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  /** One that opened and ended so many hours ago. */
  const synced = async (connection: string, hoursAgo: number, records = 0, over = {}): Promise<string> => {
    const { pool } = db.database;
    const id = await openedSync(pool, connection, over);
    const provider = scriptedProvider([{ records: listens(records) }]);
    await stepsUntil(
      syncSteps(pool, { ...provider, page: (asked) => provider.page({ ...asked, cursor: null }) }),
      id,
    );
    await bench.steps.finish({ importId: id, attempt: 1 }, { outcome: "completed" });
    await pool.query(
      `update import_jobs set created_at = now() - make_interval(secs => $2), finished_at = now() - make_interval(secs => $2)
        where id = $1`,
      [id, hoursAgo * HOUR_S],
    );
    return id;
  };
  const left = async (): Promise<string[]> =>
    (await db.database.pool.query<{ id: string }>("select id from import_jobs order by created_at")).rows.map(
      ({ id }) => id,
    );

  it("are deleted after a day, with their parts, but for the newest of a connection and for what says something", async () => {
    const { pool } = db.database;
    const [one, quiet] = [await insertConnection(pool, user), await insertConnection(pool, user)];
    const brought = await synced(one, 70, 3);
    const again = await synced(one, 60, 3);
    const nothing = [await synced(one, 50), await synced(one, 40)];
    const tried = await synced(one, 39, 0, { options: { dryRun: true } });
    const failed = await synced(one, 38);
    await pool.query("update import_jobs set status = 'failed', error_code = 'provider' where id = $1", [
      failed,
    ]);
    const today = [await synced(one, 23), await synced(one, 2)];
    const newestOfQuiet = [await synced(quiet, 49), await synced(quiet, 37)][1]!;

    expect(await pruneEmptySyncs(pool)).to.equal(nothing.length + 1);
    expect(await left()).to.deep.equal([brought, again, tried, failed, newestOfQuiet, ...today]);
    const parts = await pool.query("select from import_parts where job_id = any($1::uuid[])", [nothing]);
    expect(parts.rows).to.deep.equal([]);
    expect(await pruneEmptySyncs(pool)).to.equal(0);

    await pool.query("delete from connections where id = $1", [quiet]);
    expect(await pruneEmptySyncs(pool), "nobody asks when it was last synced").to.equal(1);
    const plays = await pool.query("select from listening_history where user_id = $1", [user]);
    expect(plays.rowCount).to.equal(3);
  });
});
