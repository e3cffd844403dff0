import { expect } from "chai";
import { RateLimitedError } from "../../../services/connections/errors.js";
import { cancelOrphanedSyncs } from "../../../services/connections/syncing/orphanedSyncs.js";
import { reconcileSchedules, tellSchedule } from "../../../services/connections/syncing/schedules.js";
import { QueueUnavailableError } from "../../../services/import/ImportQueue.js";
import type { JobRef } from "../../../services/import/ImportQueue.js";
import { findJob } from "../../../services/import/jobs.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { insertUser } from "../../support/users.js";
import { quietLog } from "../import/importing.js";
import {
  heardQueue,
  insertConnection,
  openedSync,
  scriptedProvider,
  stepsUntil,
  syncSteps,
} from "./syncBench.js";

describe("the schedules of connections", () => {
  let db: TestDatabase;
  let user: string;
  before(async () => {
    db = await createTestDatabase();
    user = await insertUser(db.database.pool);
  });
  afterEach(() => db.database.pool.query("delete from connections"));
  after(() => db.drop());

  const bench = () => {
    const queue = heardQueue();
    return { queue, deps: { pool: db.database.pool, queue, log: quietLog } };
  };
  const paused = (queue: ReturnType<typeof heardQueue>, id: string): boolean | undefined =>
    queue.schedules.get(id)?.paused;

  it("are made where they are missing, changed where the row was, and removed with their connection", async () => {
    const { pool } = db.database;
    const { queue, deps } = bench();
    const [first, second] = [
      await insertConnection(pool, user, { everyMinutes: 30 }),
      await insertConnection(pool, user, { provider: "lastfm", paused: true }),
    ];
    expect(await reconcileSchedules(deps)).to.deep.equal({ acted: true, told: 2, removed: 0 });
    expect(queue.schedules.get(first)).to.deep.equal({
      connectionId: first,
      userId: user,
      provider: "listenbrainz",
      everyMinutes: 30,
      paused: false,
    });
    expect(paused(queue, second)).to.equal(true);
    expect(await reconcileSchedules(deps)).to.include({ told: 0, removed: 0 });

    await pool.query("update connections set every_minutes = 90 where id = $1", [first]);
    await pool.query("update connections set status = 'needs_reauth', paused = false where id = $1", [
      second,
    ]);
    expect(await reconcileSchedules(deps)).to.include({ told: 1 }); // that one was paused already
    expect(queue.schedules.get(first)?.everyMinutes).to.equal(90);
    expect(paused(queue, second)).to.equal(true);

    queue.schedules.delete(first); // the queue has lost it
    await pool.query("delete from connections where id = $1", [second]);
    expect(await reconcileSchedules(deps)).to.include({ told: 1, removed: 1 });
    expect([...queue.schedules.keys()]).to.deep.equal([first]);
  });

  it("are told at once of a change, and later where the queue did not answer", async () => {
    const { pool } = db.database;
    const { queue, deps } = bench();
    const id = await insertConnection(pool, user);
    const away = {
      ...queue,
      upsertSchedule: () => Promise.reject(new QueueUnavailableError("away")),
      listSchedules: () => Promise.reject(new QueueUnavailableError("away")),
    };
    expect(await tellSchedule({ ...deps, queue: away }, id)).to.equal(false);
    expect(await reconcileSchedules({ ...deps, queue: away })).to.include({ acted: true, told: 0 });
    expect(await tellSchedule(deps, id)).to.equal(true);
    expect(paused(queue, id)).to.equal(false);
    await pool.query("delete from connections where id = $1", [id]);
    expect(await tellSchedule(deps, id)).to.equal(true);
    expect(queue.schedules.size).to.equal(0);
  });

  it("go with their connection, and so does a sync that waits", async () => {
    const { pool } = db.database;
    const { queue, deps } = bench();
    const [gone, other] = [
      await insertConnection(pool, user),
      await insertConnection(pool, user, { provider: "lastfm" }),
    ];
    const [waiting, left] = [await openedSync(pool, gone), await openedSync(pool, other)];
    const limited = scriptedProvider([() => Promise.reject(new RateLimitedError(Date.now() + 80_000_000))]);
    expect(await stepsUntil(syncSteps(pool, limited), waiting)).to.include({ status: "waiting" });
    await pool.query("delete from connections where id = $1", [gone]);
    const cancels: string[] = [];
    const cancelling = {
      ...deps,
      blobKeepDays: 7,
      queue: {
        ...queue,
        requestCancel: ({ importId }: JobRef) => {
          cancels.push(importId);
          return Promise.resolve("requested" as const);
        },
      },
    };
    expect(await cancelOrphanedSyncs(cancelling)).to.equal(1);
    expect(await cancelOrphanedSyncs(cancelling)).to.equal(0);
    expect(cancels).to.deep.equal([waiting]);
    expect((await findJob(pool, waiting))?.status).to.equal("cancelling");
    expect((await findJob(pool, left))?.status).to.equal("queued");
  });
});
