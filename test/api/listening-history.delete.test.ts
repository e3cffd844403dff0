import { expect } from "chai";
import { USER_PLAYS_LOCK } from "../../db/advisoryLocks.js";
import { createBench, type ImportBench, json, play, plays } from "../services/import/importing.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { untilBlocked } from "../support/locks.js";
import { insertPlays } from "../support/plays.js";

const PATH = "/api/v1/listening-history";

/** Imports run here as the worker runs them, on the database of the api. */
describe("deleting and unlinking plays", () => {
  let app: TestApp;
  let user: TestUser;
  let bench: ImportBench;

  before(async () => {
    app = await startTestApp();
    bench = await createBench(app.deps.database.pool);
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  after(async () => {
    await bench.close();
    await app.close();
  });

  interface Shown {
    readonly id: number;
    readonly playedAt: string;
    readonly msPlayed: number | null;
    readonly duplicateOf: number | null;
  }
  const rows = async <T>(sql: string, ...values: unknown[]): Promise<T[]> =>
    (await app.deps.database.pool.query(sql, values)).rows as T[];
  const list = async (query = ""): Promise<Shown[]> => {
    await app.deps.pages.seen(); // imports change the history behind the back of the api
    return expectStatus(200, await app.as(user).get(`${PATH}?limit=1000&order=asc${query}`)).body.data;
  };
  const ids = async (query = ""): Promise<number[]> => (await list(query)).map(({ id }) => id);
  const remove = (id: number | undefined, by = user) => app.as(by).delete(`${PATH}/${String(id)}`);
  const tombstones = async (): Promise<number> =>
    (await rows("select from deleted_plays where user_id = $1", user.id)).length;

  async function imported(records: readonly object[], batchRows = 100): Promise<string> {
    const id = await bench.job(user.id, json(records), { batchRows });
    expect(await bench.run(id)).to.equal("completed");
    return id;
  }
  const verdicts = async (id: string) => {
    const { counts, duplicate } = expectStatus(200, await app.as(user).get(`/api/v1/imports/${id}`)).body;
    return { read: counts.read, inserted: counts.inserted, ...duplicate };
  };

  it("takes a play out of the history at once and for good", async () => {
    await imported(plays(5));
    const before = await ids();
    expectStatus(204, await remove(before[2]));
    expect(await ids()).to.deep.equal(before.filter((_, index) => index !== 2));
    expect((await app.as(user).get(`${PATH}/${before[2]}`)).status).to.equal(404);
    expect((await remove(before[2])).status).to.equal(404);
    expect(await tombstones()).to.equal(1);
  });

  it("keeps a deleted play away when its file comes again, whole, split, shuffled or after an undo", async () => {
    const records = plays(60);
    const first = await imported(records, 20);
    const [gone, also] = (await ids()).filter((_, index) => index === 7 || index === 41);
    for (const id of [gone, also]) expectStatus(204, await remove(id));
    const left = await ids();
    expect(left).to.have.length(58);

    const again = await imported(records, 25);
    expect(await verdicts(again)).to.deep.equal({
      read: 60,
      inserted: 0,
      already_there: 58,
      deleted_by_user: 2,
    });
    const ledger = await app
      .as(user)
      .get(`/api/v1/imports/${again}/rows?verdict=duplicate&reason=deleted_by_user`);
    expect(
      ledger.body.data.map(({ position, listenId }: { position: number; listenId: null }) => [
        position,
        listenId,
      ]),
    ).to.deep.equal([
      [7, null],
      [41, null],
    ]);
    const shuffled = records.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? 1 : -1));
    expect(await verdicts(await imported([...shuffled.slice(0, 30), play(7)]))).to.include({
      read: 31,
      inserted: 0,
    });
    expect(await ids()).to.deep.equal(left);

    for (const job of [first, again]) {
      await rows("update import_jobs set status = 'undoing', version = version + 1 where id = $1", job);
      await bench.steps.undo(job, bench.context());
    }
    await imported(records);
    expect(await list()).to.have.length(58);
    expect(await tombstones()).to.equal(2);
  });

  it("leaves a corrected play as its owner corrected it when its file comes again", async () => {
    const records = plays(10);
    await imported(records);
    const [first] = await list();
    const track = { title: "What it really was", artist: "Somebody Else" };
    const { body } = expectStatus(
      200,
      await app
        .as(user)
        .put(`${PATH}/${first!.id}`, { playedAt: "2021-01-01T00:00:00Z", msPlayed: 1, track }),
    );
    expect(await verdicts(await imported(records))).to.deep.equal({
      read: 10,
      inserted: 0,
      already_there: 10,
    });
    expect((await list()).at(-1)).to.deep.equal(body);
  });

  it("takes all sightings of a play, whichever of them is named, and notes each by its own key and ranges", async () => {
    for (const named of [0, 1, 2]) {
      const owner = await buildUser(app);
      const spec = { playedAt: "2024-01-01T00:00:00Z", track: "Same", source: "spotify-extended" } as const;
      const [leader = 0, other = 0] = await insertPlays(app.deps.database.pool, owner.id, [
        spec,
        { ...spec, track: "Another play" },
      ]);
      const sightings = await insertPlays(app.deps.database.pool, owner.id, [
        { ...spec, playedAt: "2024-01-01T00:00:20Z", source: "spotify-account", duplicateOf: leader },
        { ...spec, playedAt: "2024-01-01T00:00:01Z", source: "lastfm", duplicateOf: leader },
      ]);
      await rows(
        "update listening_history set ended_at = played_at + interval '3 minutes' where id = any($1::bigint[])",
        [leader, sightings[0]],
      );
      const keys = await rows(
        "select encode(source_key, 'hex') as key, source::text from listening_history where user_id = $1 and id <> $2 order by 1",
        owner.id,
        other,
      );

      expectStatus(204, await remove([leader, ...sightings][named], owner));

      expect(await rows("select id from listening_history where user_id = $1", owner.id)).to.deep.equal([
        { id: other },
      ]);
      const noted = await rows<{ key: string; source: string }>(
        `select encode(source_key, 'hex') as key, source::text, loose_key, start_earliest <= start_latest as ordered,
                extract(epoch from end_latest - end_earliest)::integer as seconds
           from deleted_plays where user_id = $1 order by 1`,
        owner.id,
      );
      expect(noted.map(({ key, source }) => ({ key, source }))).to.deep.equal(keys);
      const seconds = { "spotify-extended": 4, "spotify-account": 120, lastfm: null };
      for (const row of noted)
        expect(row).to.include({
          ordered: true,
          loose_key: "some artist same",
          seconds: seconds[row.source as keyof typeof seconds],
        });
    }
  });

  it("waits for a batch of an import that is being written", async () => {
    await imported(plays(3));
    const [id] = await ids();
    const writing = await app.deps.database.pool.connect();
    try {
      await writing.query("begin");
      await writing.query(`select pg_advisory_xact_lock_shared(${USER_PLAYS_LOCK})`, [user.id]);
      const removing = remove(id);
      await untilBlocked(app.deps.database.pool);
      expect((await app.as(user).get(`${PATH}/${id}`)).status).to.equal(200);
      await writing.query("commit");
      expectStatus(204, await removing);
    } finally {
      writing.release();
    }
  });

  it("leaves every row accounted for when plays are deleted, told and corrected while their file is imported", async () => {
    const records = plays(300);
    await imported(records);
    const before = await ids();
    const targets = before.filter((_, index) => index % 30 === 0);
    const job = await bench.job(user.id, json(records), { batchRows: 20 });
    const [status] = await Promise.all([
      bench.run(job),
      (async () => {
        for (const [n, id] of targets.entries()) {
          expectStatus(204, await remove(id));
          expectStatus(200, await app.as(user).patch(`${PATH}/${before[n * 30 + 1]}`, { msPlayed: n }));
          const track = { title: `Told ${n}`, artist: "By hand" };
          expectStatus(201, await app.as(user).post(PATH, { playedAt: "2019-01-01T00:00:00Z", track }));
        }
      })(),
    ]);
    expect(status).to.equal("completed");
    const { read, inserted, already_there: there = 0, deleted_by_user: deleted = 0 } = await verdicts(job);
    expect({ read, inserted, sum: there + deleted }).to.deep.equal({ read: 300, inserted: 0, sum: 300 });
    expect(await ids("&source=spotify")).to.deep.equal(before.filter((_, index) => index % 30 !== 0));
    expect(await verdicts(await imported(records))).to.deep.equal({
      ...{ read: 300, inserted: 0, already_there: 290, deleted_by_user: 10 },
    });
  });

  it("counts a play as deleted whatever comes first when its first import and its deletion meet", async () => {
    const track = { title: "Contested", artist: "Both" };
    const answers = await Promise.all(
      Array.from({ length: 12 }, async (_, n) => {
        const { body } = expectStatus(
          201,
          await app
            .as(user)
            .post(PATH, { playedAt: `2022-01-01T00:00:${String(n).padStart(2, "0")}Z`, track }),
        );
        const twice = await Promise.all([remove(body.id), remove(body.id)]);
        return twice.map(({ status }) => status).sort();
      }),
    );
    for (const statuses of answers) expect(statuses).to.deep.equal([204, 404]);
    expect(await list()).to.deep.equal([]);
    expect(await tombstones()).to.equal(12);
  });

  describe("POST /listening-history/:id/unlink", () => {
    const linked = async (): Promise<{ leader: number; sighting: number }> => {
      await imported(plays(2));
      const [leader = 0, sighting = 0] = await ids();
      await rows("update listening_history set duplicate_of = $1 where id = $2", leader, sighting);
      await rows("select announce_change('history', $1)", user.id);
      return { leader, sighting };
    };
    const unlink = (id: number, tag?: string) =>
      app
        .as(user)
        .post(`${PATH}/${id}/unlink`, undefined, tag === undefined ? {} : { headers: { "if-match": tag } });

    it("makes a play of its own of a sighting, once", async () => {
      const { leader, sighting } = await linked();
      expect(await ids()).to.deep.equal([leader]);
      const tag = (await app.as(user).get(`${PATH}/${sighting}`)).headers.get("etag") ?? "";
      expectStatus(412, await unlink(sighting, '"another"'));
      const { body } = expectStatus(200, await unlink(sighting, tag));
      expect(body).to.include({ id: sighting, duplicateOf: null });
      expect(await ids()).to.deep.equal([leader, sighting]);

      for (const id of [sighting, leader]) {
        expect(expectStatus(409, await unlink(id)).body.code).to.equal("wrong_state");
      }
    });

    it("notes the two by their own keys, which undoing and importing them again leaves as they are", async () => {
      const { leader, sighting } = await linked();
      const keys = (
        await rows<{ key: string }>(
          "select encode(source_key, 'hex') as key from listening_history where id = any($1::bigint[])",
          [leader, sighting],
        )
      ).map(({ key }) => key);
      expectStatus(200, await unlink(sighting));
      const overrides = () =>
        rows(
          "select encode(first_key, 'hex') as first, encode(second_key, 'hex') as second from play_link_overrides where user_id = $1",
          user.id,
        );
      const [first, second] = keys.sort();
      expect(await overrides()).to.deep.equal([{ first, second }]);

      const [{ id: job } = { id: "" }] = await rows<{ id: string }>(
        "select id from import_jobs where user_id = $1",
        user.id,
      );
      await rows("update import_jobs set status = 'undoing', version = version + 1 where id = $1", job);
      await bench.steps.undo(job, bench.context());
      expect(await list()).to.deep.equal([]);
      await imported(plays(2));
      expect(await overrides()).to.deep.equal([{ first, second }]);

      await rows(
        `update listening_history set duplicate_of = (select min(id) from listening_history where user_id = $1)
          where id = (select max(id) from listening_history where user_id = $1)`,
        user.id,
      );
      const [again] = await rows<{ id: number }>(
        "select max(id) as id from listening_history where user_id = $1",
        user.id,
      );
      expectStatus(200, await unlink(again!.id));
      expect(await overrides()).to.have.length(1);
    });
  });
});
