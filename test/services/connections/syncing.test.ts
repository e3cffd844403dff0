import { readdir } from "node:fs/promises";
import { Readable } from "node:stream";
import { expect } from "chai";
import { ProviderError, RateLimitedError, ReauthNeededError } from "../../../services/connections/errors.js";
import type { ArchiveProvider } from "../../../services/connections/providers/types.js";
import { openDueSync, openSync } from "../../../services/connections/syncing/openSync.js";
import { retryJob, pauseJob, resumeJob, cancelJob } from "../../../services/import/control.js";
import { findJob, JobClosedError } from "../../../services/import/jobs.js";
import { ImportError } from "../../../services/import/verdicts.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { rejection } from "../../support/rejection.js";
import { insertUser } from "../../support/users.js";
import { countsOfJob, createBench, digestOf, quietLog } from "../import/importing.js";
import type { ImportBench } from "../import/importing.js";
import {
  heardQueue,
  insertConnection,
  listen,
  listens,
  openedSync,
  scriptedProvider,
  stepContext,
  stepsUntil,
  syncSteps,
} from "./syncBench.js";

describe("the sync of a connection", function () {
  this.timeout(30_000);
  let db: TestDatabase;
  let bench: ImportBench;
  let user: string;
  let connection: string;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
  });
  beforeEach(async () => {
    user = await insertUser(db.database.pool);
    connection = await insertConnection(db.database.pool, user);
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = () => db.database.pool;
  const cursor = async (): Promise<unknown> =>
    (
      await pool().query<{ c: unknown }>("select sync_cursor as c from connections where id = $1", [
        connection,
      ])
    ).rows[0]?.c;
  const finish = (importId: string, attempt = 1) =>
    bench.steps.finish({ importId, attempt }, { outcome: "completed" });
  const filesIn = async (folder: string): Promise<string[]> =>
    (await readdir(folder, { recursive: true })).sort();
  const gaps = async () =>
    (
      await pool().query<{ from: Date; until: Date }>(
        "select gap_from as from, gap_until as until from sync_gaps where connection_id = $1 order by 1",
        [connection],
      )
    ).rows;

  describe("when it is opened", () => {
    it("is one job however many ask at once, and another once that is closed", async () => {
      const queue = heardQueue();
      const deps = { pool: pool(), queue, log: quietLog, batchRows: 100 };
      const outcomes = await Promise.all(
        Array.from({ length: 6 }, () => openSync(deps, connection, { trigger: "user", requireUserId: user })),
      );
      const ids = outcomes.map((outcome) =>
        "opened" in outcome ? outcome.opened.id : "open" in outcome ? outcome.open.id : outcome.refused,
      );
      expect(new Set(ids).size).to.equal(1);
      expect(outcomes.filter((outcome) => "opened" in outcome)).to.have.length(1);
      expect(queue.heard).to.deep.equal([`sync ${ids[0]} 1`]);
      const job = await findJob(pool(), ids[0]!);
      expect(job).to.include({
        kind: "sync",
        source: "listenbrainz",
        connection_id: connection,
        status: "queued",
      });
      expect(job!.options).to.deep.equal({ source: null, from: null, until: null, includeIncognito: false });

      expect(await openDueSync(deps, connection)).to.deep.equal({
        outcome: "under_way",
        importId: ids[0],
        refused: null,
      });
      await cancelJob(pool(), user, ids[0]!, 7);
      expect((await openDueSync(deps, connection)).outcome).to.equal("opened");
    });

    it("is refused to whom it is none of, and while its owner has to do something first", async () => {
      const deps = { pool: pool(), queue: heardQueue(), log: quietLog, batchRows: 100 };
      const stranger = await insertUser(pool());
      const refusal = async (id: string, trigger: "user" | "schedule", requireUserId = user) => {
        const outcome = await openSync(deps, id, { trigger, requireUserId });
        return "refused" in outcome ? outcome.refused : "none";
      };
      expect(await refusal(user, "user")).to.equal("missing");
      expect(await refusal(connection, "user", stranger)).to.equal("missing");
      for (const status of ["needs_reauth", "unavailable"]) {
        await pool().query("update connections set status = $2 where id = $1", [connection, status]);
        expect(await refusal(connection, "user")).to.equal(status);
      }
      await pool().query("update connections set status = 'active', paused = true where id = $1", [
        connection,
      ]);
      expect(await refusal(connection, "schedule")).to.equal("paused");
      const elsewhere = { ...deps, isSetUp: () => false };
      expect(await openDueSync(elsewhere, connection)).to.include({ refused: "unavailable", importId: null });
      await pool().query("update users set disabled_at = now() where id = $1", [user]);
      expect(await refusal(connection, "user")).to.equal("account_off");
      await pool().query("update users set disabled_at = null where id = $1", [user]);
      expect(await refusal(connection, "user")).to.equal("none");
      expect(deps.queue.heard).to.have.length(1);
    });
  });

  it("takes page after page, keeps its place and its gaps, and the next one begins there", async () => {
    const gap = { from: 1_600_000_000_000, until: 1_600_000_600_000 };
    const provider = scriptedProvider([
      { records: listens(3), gap },
      { records: [] },
      { records: [...listens(2, 2), { listened_at: "soon" }, { playing_now: true, track_metadata: {} }] },
    ]);
    const steps = syncSteps(pool(), provider);
    const id = await openedSync(pool(), connection);
    expect(await stepsUntil(steps, id)).to.deep.equal({ status: "done", read: 4, inserted: 1 });
    expect(await finish(id)).to.equal("completed_with_errors");
    expect(await countsOfJob(pool(), id)).to.deep.equal({
      status: "completed_with_errors",
      read: 7,
      inserted: 4,
      duplicate: 1,
      skipped: 1,
      rejected: 1,
    });
    expect(await cursor()).to.deep.equal({ place: 3 });
    expect(await gaps()).to.deep.equal([{ from: new Date(gap.from), until: new Date(gap.until) }]);
    expect((await findJob(pool(), id))!.sources).to.deep.equal(["listenbrainz"]);
    expect((await digestOf(pool(), user)).rows).to.equal(4);

    const next = await openedSync(pool(), connection);
    await stepsUntil(
      syncSteps(pool(), scriptedProvider([{}, {}, {}, { records: [listen(3), listen(9)] }])),
      next,
    );
    expect(await finish(next)).to.equal("completed");
    expect(await countsOfJob(pool(), next)).to.include({ read: 2, inserted: 1, duplicate: 1 });
  });

  it("asks for no more pages than it may, and leaves the rest to the next", async () => {
    const provider = scriptedProvider([1, 2, 3, 4, 5].map((n) => ({ records: listens(2, n * 10) })));
    const steps = syncSteps(pool(), provider, { pagesMax: 2 });
    const id = await openedSync(pool(), connection);
    expect(await stepsUntil(steps, id)).to.include({ status: "done" });
    expect(await finish(id)).to.equal("completed");
    expect(provider.asked.map(({ place }) => place)).to.deep.equal([0, 1]);
    await stepsUntil(steps, await openedSync(pool(), connection));
    expect(provider.asked.map(({ place }) => place)).to.deep.equal([0, 1, 2, 3]);
  });

  it("has each page once, whenever it is broken off and however often it is tried at once", async () => {
    const clean = await insertUser(pool());
    const script = Array.from({ length: 6 }, (_, n) => ({ records: listens(20, n * 20) }));
    const cleanId = await openedSync(pool(), await insertConnection(pool(), clean));
    await stepsUntil(syncSteps(pool(), scriptedProvider(script)), cleanId);
    await finish(cleanId);

    const id = await openedSync(pool(), connection);
    const provider = scriptedProvider(script);
    let breaks = 0;
    const broken = syncSteps(pool(), provider, {
      onCommit: (_batch, moment) => {
        breaks += 1;
        // Before the commit nothing may be left of the page; after it everything, though the step never heard.
        if (breaks % 2 === 1) throw new Error(`broken off ${moment}`);
      },
    });
    const status = async (): Promise<string> =>
      (await broken.step({ importId: id, attempt: 1 }, stepContext()).catch(() => ({ status: "broken" })))
        .status;
    let last = "";
    for (let n = 0; n < 100 && last !== "done"; n += 1) last = await status();
    expect(last).to.equal("done");
    await finish(id);
    expect(await digestOf(pool(), user)).to.deep.equal(await digestOf(pool(), clean));

    const other = await insertUser(pool());
    const twins = await openedSync(pool(), await insertConnection(pool(), other));
    const together = syncSteps(pool(), scriptedProvider(script));
    for (let n = 0; n < 12; n += 1)
      await Promise.allSettled(
        [1, 2, 3].map(() => together.step({ importId: twins, attempt: 1 }, stepContext())),
      );
    expect(await stepsUntil(together, twins)).to.include({ status: "done" });
    expect(await finish(twins)).to.equal("completed");
    expect(await countsOfJob(pool(), twins)).to.include({ read: 120, inserted: 120 });
    expect(await digestOf(pool(), other)).to.deep.equal(await digestOf(pool(), clean));
  });

  it("waits as long as the provider asks, says so, and asks for the same place at the time it is then", async () => {
    const until = Date.now() + 80_000_000;
    let limited = true;
    const provider = scriptedProvider([
      { records: listens(2) },
      () =>
        limited ? Promise.reject(new RateLimitedError(until)) : Promise.resolve({ records: listens(2, 5) }),
    ]);
    const steps = syncSteps(pool(), provider);
    const id = await openedSync(pool(), connection);
    const iso = new Date(until).toISOString();
    expect(await stepsUntil(steps, id)).to.deep.equal({
      status: "waiting",
      until: iso,
      reason: "rate_limited",
    });
    const waiting = await findJob(pool(), id);
    expect(waiting).to.include({ status: "running", waiting_reason: "rate_limited" });
    expect(waiting!.waiting_until!.toISOString()).to.equal(iso);
    limited = false;
    expect(await stepsUntil(steps, id)).to.include({ status: "done" });
    expect(provider.asked.map(({ place }) => place)).to.deep.equal([0, 1, 1]);
    expect(provider.asked[2]!.polledAt).to.be.at.least(provider.asked[1]!.polledAt);
    expect(await findJob(pool(), id)).to.include({ waiting_reason: null, waiting_until: null });
  });

  it("gives a provider that is down growing pauses, then gives up, and goes on from its place when asked again", async () => {
    let down = true;
    const answer = () =>
      down
        ? Promise.reject(new ProviderError("half an answer", true))
        : Promise.resolve({ records: listens(2, 7) });
    const steps = syncSteps(pool(), scriptedProvider([{ records: listens(2) }, answer]), {
      firstPauseMs: 1000,
      triesMax: 3,
    });
    const id = await openedSync(pool(), connection);
    const pauses: number[] = [];
    for (let n = 0; n < 2; n += 1) {
      const at = Date.now();
      const result = await stepsUntil(steps, id);
      expect(result).to.include({ status: "waiting", reason: "provider_down" });
      if (result.status === "waiting") pauses.push(Math.round((Date.parse(result.until) - at) / 1000));
    }
    expect(pauses).to.deep.equal([1, 2]);
    const error = await rejection(stepsUntil(steps, id));
    expect(error)
      .to.be.instanceOf(ImportError)
      .and.to.include({ code: "provider", message: "half an answer" });
    await bench.steps.finish(
      { importId: id, attempt: 1 },
      { outcome: "failed", code: "provider", message: "half an answer" },
    );

    expect(await retryJob(pool(), user, id)).to.deep.equal({ effect: "queued" });
    expect(await stepsUntil(steps, id, 2)).to.include({ status: "waiting" }); // it counts from the beginning
    down = false;
    expect(await stepsUntil(steps, id, 2)).to.deep.equal({ status: "done", read: 2, inserted: 2 });
    expect(await finish(id, 2)).to.equal("completed");
    expect(await countsOfJob(pool(), id)).to.include({ read: 4, inserted: 4 });
  });

  it("fails at once on an answer that will not change, and asks the owner to connect again when only that helps", async () => {
    const looping = syncSteps(
      pool(),
      scriptedProvider([() => Promise.reject(new ProviderError("the same page again", false))]),
    );
    const id = await openedSync(pool(), connection);
    expect(await rejection(stepsUntil(looping, id))).to.include({ code: "provider" });
    await cancelJob(pool(), user, id, 7);
    await bench.steps.finish({ importId: id, attempt: 1 }, { outcome: "cancelled" });

    const refused = syncSteps(
      pool(),
      scriptedProvider([() => Promise.reject(new ReauthNeededError("connect the account again"))]),
    );
    const again = await openedSync(pool(), connection);
    expect(await rejection(stepsUntil(refused, again))).to.include({ code: "provider" });
    const row = await pool().query("select status, access_token from connections where id = $1", [
      connection,
    ]);
    expect(row.rows).to.deep.equal([{ status: "needs_reauth", access_token: null }]);
  });

  it("stops for a pause and for a cancel, before it asks and when its page is to be committed", async () => {
    let meanwhile: () => Promise<unknown> = () => Promise.resolve();
    const page = async () => {
      await meanwhile();
      return { records: listens(2) };
    };
    const steps = syncSteps(pool(), scriptedProvider([page, { records: [] }]));
    const id = await openedSync(pool(), connection);
    meanwhile = () => pauseJob(pool(), user, id);
    expect(await stepsUntil(steps, id)).to.deep.equal({ status: "paused" });
    expect(await stepsUntil(steps, id)).to.deep.equal({ status: "paused" });
    expect((await digestOf(pool(), user)).rows).to.equal(0);
    await resumeJob(pool(), user, id);
    meanwhile = () => cancelJob(pool(), user, id, 7);
    expect(await stepsUntil(steps, id)).to.deep.equal({ status: "stopped" });
    expect(await stepsUntil(steps, id)).to.deep.equal({ status: "stopped" });
    expect(await bench.steps.finish({ importId: id, attempt: 1 }, { outcome: "cancelled" })).to.equal(
      "cancelled",
    );
    expect(await rejection(stepsUntil(steps, id))).to.be.instanceOf(JobClosedError);
    expect(await cursor()).to.equal(null);
    expect((await digestOf(pool(), user)).rows).to.equal(0);
  });

  it("says in a dry run what it would bring, over all pages, and leaves the connection where it is", async () => {
    const gap = { from: 1, until: 2 };
    const script = [{ records: listens(3) }, { records: listens(3, 2), gap }];
    const id = await openedSync(pool(), connection, { options: { dryRun: true } });
    expect(await stepsUntil(syncSteps(pool(), scriptedProvider(script)), id)).to.include({ status: "done" });
    expect(await finish(id)).to.equal("completed");
    expect(await countsOfJob(pool(), id)).to.include({ read: 6, inserted: 5, duplicate: 1 });
    expect(await cursor()).to.equal(null);
    expect(await gaps()).to.deep.equal([]);
    expect((await digestOf(pool(), user)).rows).to.equal(0);
  });

  describe("of a range", () => {
    const at = (n: number): string => new Date((1_700_000_000 + n * 60) * 1000).toISOString();
    const options = { from: at(2), until: at(5) };
    const script = [{ records: listens(8) }, { records: listens(2, 8) }];
    const synced = async (request: Parameters<typeof openedSync>[2] = {}) => {
      const id = await openedSync(pool(), connection, request);
      await stepsUntil(syncSteps(pool(), scriptedProvider(script)), id);
      await finish(id);
      return { id, ...(await countsOfJob(pool(), id)) };
    };
    const undone = async (id: string) => {
      await pool().query("update import_jobs set status = 'undoing' where id = $1", [id]);
      return bench.steps.undo(id, stepContext());
    };

    it("brings that alone, can be undone, and takes nothing from the syncs that follow", async () => {
      const first = await synced({ options });
      expect(first).to.include({ read: 10, inserted: 3, skipped: 7 });
      expect(await cursor()).to.equal(null);
      expect(await undone(first.id)).to.include({ removed: 3 });
      expect((await digestOf(pool(), user)).rows).to.equal(0);

      const all = await synced();
      expect(all).to.include({ read: 10, inserted: 10 });
      expect(await cursor()).to.deep.equal({ place: 2 });
      expect(await undone(all.id)).to.include({ removed: 10 });
      expect(await synced({ options })).to.include({ read: 10, inserted: 3 }); // what is behind the place, too
      expect(await cursor()).to.deep.equal({ place: 2 });
    });

    it("says when that has more pages than one sync reads, and a retry reads on", async () => {
      const steps = syncSteps(pool(), scriptedProvider(script), { pagesMax: 1 });
      const id = await openedSync(pool(), connection, { options: { until: at(100) } });
      const error = await rejection(stepsUntil(steps, id));
      expect(error).to.be.instanceOf(ImportError).and.to.include({ code: "resource_limit" });
      await bench.steps.finish(
        { importId: id, attempt: 1 },
        { outcome: "failed", code: "resource_limit", message: "-" },
      );
      await retryJob(pool(), user, id);
      expect(await stepsUntil(steps, id, 2)).to.include({ status: "done" });
      expect(await finish(id, 2)).to.equal("completed");
      expect(await countsOfJob(pool(), id)).to.include({ read: 10, inserted: 10 });
    });

    it("moves on where nothing can be read again", async () => {
      const { rereads: _, ...once } = scriptedProvider(script);
      const id = await openedSync(pool(), connection, { options });
      await stepsUntil(syncSteps(pool(), once), id);
      await finish(id);
      expect(await countsOfJob(pool(), id)).to.include({ inserted: 3, skipped: 7 });
      expect(await cursor()).to.deep.equal({ place: 2 });
    });
  });

  it("ends when its connection is removed, or its account erased, and leaves nothing", async () => {
    const removed = () => pool().query("delete from connections where id = $1", [connection]);
    const steps = syncSteps(
      pool(),
      scriptedProvider([{ records: listens(2) }, () => removed().then(() => ({ records: listens(2, 5) }))]),
    );
    const id = await openedSync(pool(), connection);
    expect(await rejection(stepsUntil(steps, id))).to.include({ code: "provider" });
    expect((await digestOf(pool(), user)).rows).to.equal(2);
    await bench.steps.finish(
      { importId: id, attempt: 1 },
      { outcome: "failed", code: "provider", message: "-" },
    );
    expect(await rejection(retryJob(pool(), user, id))).to.include({ code: "wrong_state" });

    const other = await insertUser(pool());
    const theirs = await insertConnection(pool(), other);
    const erased = () => pool().query("delete from users where id = $1", [other]);
    const job = await openedSync(pool(), theirs);
    const script = [() => erased().then(() => ({ records: listens(2) }))];
    expect(await rejection(stepsUntil(syncSteps(pool(), scriptedProvider(script)), job))).to.be.instanceOf(
      ImportError,
    );
    const left = await pool().query(
      `select from listening_history where user_id = $1 union all select from sync_runs where job_id = $2`,
      [other, job],
    );
    expect(left.rows).to.deep.equal([]);
  });

  it("takes a file in stages, remembers what it asked for, and imports it as an upload", async () => {
    const asked: unknown[] = [];
    const file = JSON.stringify(listens(6));
    const archives: ArchiveProvider = {
      provider: "listenbrainz",
      async archive({ cursor, store }) {
        asked.push(cursor);
        if (cursor === null)
          return { cursor: { job: "j1" }, next: { kind: "wait", until: Date.now() + 60_000 } };
        const blob = await store(Readable.from([file]));
        return {
          cursor: { job: "j1", taken: true },
          next: { kind: "upload", filename: "listens.json", blob },
        };
      },
    };
    const steps = syncSteps(pool(), archives, { blobs: bench.blobs });
    const id = await openedSync(pool(), connection);
    expect(await stepsUntil(steps, id)).to.include({ status: "waiting", reason: "rate_limited" });
    expect(await cursor()).to.deep.equal({ job: "j1" });
    expect(await stepsUntil(steps, id)).to.deep.equal({ status: "upload" });
    expect(await stepsUntil(steps, id)).to.deep.equal({ status: "upload" }); // asked for no more
    expect(asked).to.deep.equal([null, { job: "j1" }]);
    const job = await findJob(pool(), id);
    expect(job).to.include({ filename: "listens.json", size_bytes: file.length, waiting_reason: null });
    expect(await bench.run(id)).to.equal("completed");
    expect(await countsOfJob(pool(), id)).to.include({ read: 6, inserted: 6 });

    const gone = await openedSync(pool(), connection);
    const cancelled: ArchiveProvider = {
      ...archives,
      async archive({ store }) {
        const blob = await store(Readable.from([file]));
        await pool().query("update import_jobs set attempt = 2 where id = $1", [gone]);
        return { cursor: { job: "j2" }, next: { kind: "upload", filename: "a.json", blob } };
      },
    };
    const before = await filesIn(bench.spoolDir);
    expect(
      await rejection(stepsUntil(syncSteps(pool(), cancelled, { blobs: bench.blobs }), gone)),
    ).to.be.instanceOf(JobClosedError);
    expect(await filesIn(bench.spoolDir)).to.deep.equal(before);
    expect(await cursor()).to.deep.equal({ job: "j1", taken: true });
  });

  it("is retried only while no other sync of its connection is open", async () => {
    const first = await openedSync(pool(), connection);
    await cancelJob(pool(), user, first, 7);
    const second = await openedSync(pool(), connection);
    expect(await rejection(retryJob(pool(), user, first))).to.include({ code: "wrong_state" });
    await cancelJob(pool(), user, second, 7);
    expect(await retryJob(pool(), user, first)).to.deep.equal({ effect: "queued" });
  });
});
