import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { CONNECTION_PROVIDERS } from "../../db/models/enums.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { makeToken } from "../support/credentials.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { freePort } from "../support/processes.js";
import { forgetSchedules } from "../support/schedules.js";
import { broken, silent, tooMany } from "../support/providers/exchange.js";
import { startStandIn, type StandIn } from "../support/providers/standIn.js";

const CONNECTIONS = "/api/v1/connections";

describe("connections by a name or a token", () => {
  let app: TestApp;
  let standIn: StandIn;
  let user: TestUser;
  before(async () => {
    standIn = await startStandIn();
    app = await startTestApp({ env: { ...standIn.environment, PROVIDER_TIMEOUT_MS: "1500" } });
    user = await buildUser(app);
    standIn.listenbrainz.listens.set("Ada", []);
    standIn.listenbrainz.tokens.set("listenbrainz-token", "Ada");
    standIn.lastfm.scrobbles.set("ada", []);
    standIn.apple.played.set("apple-user-token", []);
  });
  afterEach(async () => {
    standIn.reset();
    await forgetSchedules(app);
    await app.deps.database.pool.query("delete from connections");
  });
  after(async () => {
    await app.close();
    await standIn.stop();
  });

  const connect = (body: object, as = user): Promise<Answer> => app.as(as).post(CONNECTIONS, body);
  const stored = async (id: string) => {
    const { rows } = await app.deps.database.pool.query<{
      access_token: Buffer | null;
      token_key_id: string | null;
      proven: boolean;
    }>("select access_token, token_key_id, proven from connections where id = $1", [id]);
    return rows[0]!;
  };

  it("are made, listed with the providers there are, and gone when they are deleted", async () => {
    const { body: made } = expectStatus(201, await connect({ provider: "lastfm", username: "ada" }));
    expect(made).to.deep.include({
      provider: "lastfm",
      account: "ada",
      status: "active",
      lastSync: null,
      gaps: 0,
    });
    expect(made.schedule).to.include({ everyMinutes: 60, paused: false });
    const list = expectStatus(200, await app.as(user).get(CONNECTIONS)).body;
    expect(list.data.map((one: { id: string }) => one.id)).to.deep.equal([made.id]);
    expect(list.providers).to.have.length(CONNECTION_PROVIDERS.length);
    expect(
      list.providers.every(
        (one: { available: boolean; reason: null }) => one.available && one.reason === null,
      ),
    ).to.equal(true);

    expectStatus(404, await app.as(user).delete(`${CONNECTIONS}/${randomUUID()}`));
    expectStatus(204, await app.as(user).delete(`${CONNECTIONS}/${made.id}`));
    expectStatus(404, await app.as(user).delete(`${CONNECTIONS}/${made.id}`));
    expect(expectStatus(200, await app.as(user).get(CONNECTIONS)).body.data).to.deep.equal([]);
    expect(await app.deps.queue.inspectSchedule(made.id)).to.equal(null);
  });

  it("leave no schedule behind, however often they are made and deleted", async () => {
    const ids: string[] = [];
    for (let round = 0; round < 12; round += 1) {
      const { body } = expectStatus(201, await connect({ provider: "lastfm", username: "ada" }));
      expectStatus(204, await app.as(user).delete(`${CONNECTIONS}/${body.id}`));
      ids.push(body.id);
    }
    for (const id of ids) expect(await app.deps.queue.inspectSchedule(id)).to.equal(null);
  });

  it("keep tokens encrypted, and never show them", async () => {
    const answers = [
      expectStatus(201, await connect({ provider: "listenbrainz", token: "listenbrainz-token" })),
      expectStatus(201, await connect({ provider: "apple", userToken: "apple-user-token" })),
    ];
    for (const { body } of answers) {
      const row = await stored(body.id);
      expect(row.proven).to.equal(true);
      expect(row.token_key_id).to.match(/^kept-/);
      expect(row.access_token!.includes("token")).to.equal(false);
    }
    expect(answers[0]!.body.account).to.equal("Ada");
    const { body } = expectStatus(200, await app.as(user).get(CONNECTIONS));
    expect(JSON.stringify([body, answers.map((answer) => answer.body)])).to.not.match(/-token/);
    expect(app.logs()).to.not.match(/listenbrainz-token|apple-user-token/);
  });

  it("are opened again by the same user, and taken for another once they were proven", async () => {
    const other = await buildUser(app);
    const named = expectStatus(201, await connect({ provider: "listenbrainz", username: "Ada" })).body;
    expectStatus(201, await connect({ provider: "listenbrainz", username: "Ada" }, other));

    const proven = expectStatus(
      200,
      await connect({ provider: "listenbrainz", token: "listenbrainz-token" }),
    ).body;
    expect(proven.id).to.equal(named.id);
    const refused = expectStatus(
      409,
      await connect({ provider: "listenbrainz", username: "Ada", token: "listenbrainz-token" }, other),
    );
    expect(refused.body.code).to.equal("account_taken");
    expect(await stored(named.id)).to.include({ proven: true });

    await app.deps.database.pool.query(
      "update connections set status = 'needs_reauth', access_token = null, token_key_id = null where id = $1",
      [named.id],
    );
    const again = expectStatus(
      200,
      await connect({ provider: "listenbrainz", token: "listenbrainz-token" }),
    ).body;
    expect(again).to.include({ id: named.id, status: "active" });
  });

  it("are the same for a new token of Apple when the old one has run out", async () => {
    standIn.apple.played.set("second-user-token", []);
    const first = expectStatus(201, await connect({ provider: "apple", userToken: "apple-user-token" })).body;
    await app.deps.database.pool.query(
      "update connections set status = 'needs_reauth', access_token = null, token_key_id = null where id = $1",
      [first.id],
    );
    const again = expectStatus(
      200,
      await connect({ provider: "apple", userToken: "second-user-token" }),
    ).body;
    expect(again.id).to.equal(first.id);
    expect(again.account).to.not.equal(first.account);
  });

  const refused: readonly (readonly [body: object, status: number, code: string, path?: string])[] = [
    [{ provider: "lastfm" }, 400, "validation", "username"],
    [{ provider: "lastfm", token: "x" }, 400, "validation", "token"],
    [{ provider: "apple", username: "ada" }, 400, "validation", "userToken"],
    [{ provider: "listenbrainz" }, 400, "validation", "username"],
    [{ provider: "spotify", username: "ada" }, 400, "validation", "provider"],
    [{ provider: "lastfm", username: "no\u0000body" }, 400, "validation", "username"],
    [{ provider: "listenbrainz", token: "two words" }, 400, "validation", "token"],
    [{ provider: "lastfm", username: "nobody" }, 400, "unknown_account", "username"],
    [{ provider: "listenbrainz", username: "nobody" }, 400, "unknown_account", "username"],
    [{ provider: "listenbrainz", token: "wrong" }, 400, "token_refused", "token"],
    [
      { provider: "listenbrainz", username: "Bob", token: "listenbrainz-token" },
      400,
      "token_of_another",
      "token",
    ],
    [{ provider: "apple", userToken: "wrong" }, 400, "token_refused", "userToken"],
  ];
  for (const [body, status, code, path] of refused) {
    it(`are not made of ${JSON.stringify(body)}, which is ${status} ${code}`, async () => {
      const answer = expectStatus(status, await connect(body));
      expect(answer.body.code).to.equal(code);
      expect(answer.body.errors.map((one: { path: string }) => one.path)).to.include(path);
      expect(expectStatus(200, await app.as(user).get(CONNECTIONS)).body.data).to.deep.equal([]);
    });
  }

  it("say when the provider cannot be asked now", async () => {
    standIn.next("/1/validate-token", broken(502));
    const down = expectStatus(503, await connect({ provider: "listenbrainz", token: "listenbrainz-token" }));
    expect(down.body.code).to.equal("provider_error");
    standIn.next("/1/validate-token", silent());
    const late = expectStatus(503, await connect({ provider: "listenbrainz", token: "listenbrainz-token" }));
    expect(late.body.code).to.equal("provider_error");
    standIn.next("/1/validate-token", tooMany("2"));
    const busy = expectStatus(503, await connect({ provider: "listenbrainz", token: "listenbrainz-token" }));
    expect(busy.body.code).to.equal("provider_busy");
    expect(Number(busy.headers.get("retry-after"))).to.be.within(1, 3);
  });

  it("have a schedule that their user sets, in the row and in the queue", async () => {
    const { id } = expectStatus(201, await connect({ provider: "lastfm", username: "ada" })).body;
    const at = `${CONNECTIONS}/${id}/schedule`;
    const running = expectStatus(200, await app.as(user).put(at, { everyMinutes: 30, paused: false })).body;
    expect(running.schedule).to.include({ everyMinutes: 30, paused: false });
    const due = Date.parse(running.schedule.nextAt) - Date.now();
    expect(due).to.be.within(0, 31 * 60_000);
    expect(await app.deps.queue.inspectSchedule(id)).to.include({ everyMinutes: 30, paused: false });

    const paused = expectStatus(200, await app.as(user).put(at, { everyMinutes: 44_640, paused: true })).body;
    expect(paused).to.deep.include({
      status: "paused",
      schedule: { everyMinutes: 44_640, paused: true, nextAt: null },
    });
    expect(await app.deps.queue.inspectSchedule(id)).to.include({ everyMinutes: 44_640, paused: true });
    for (const body of [
      { everyMinutes: 0, paused: false },
      { everyMinutes: 44_641, paused: false },
      { everyMinutes: 1.5, paused: false },
      { everyMinutes: 10 },
      { everyMinutes: 10, paused: "no" },
    ])
      expectStatus(400, await app.as(user).put(at, body));
  });

  it("are synced when somebody asks, once at a time, also paused and with a token for imports", async () => {
    const { id } = expectStatus(201, await connect({ provider: "lastfm", username: "ada" })).body;
    expectStatus(
      200,
      await app.as(user).put(`${CONNECTIONS}/${id}/schedule`, { everyMinutes: 30, paused: true }),
    );
    const at = `${CONNECTIONS}/${id}/sync`;
    const reader = await makeToken(app, user, ["read", "write"]);
    expectStatus(403, await app.as(reader).post(at));
    const importer = await makeToken(app, user, ["import"]);
    const opened = expectStatus(
      202,
      await app.as(importer).post(`${at}?dryRun=true&from=2024-01-01T00:00:00Z`),
    );
    expect(opened.body).to.include({ kind: "sync", status: "queued", dryRun: true, source: "lastfm" });
    expect(opened.body.options.from).to.equal("2024-01-01T00:00:00.000Z");
    expect(opened.headers.get("location")).to.equal(`/api/v1/imports/${opened.body.id}`);
    const same = expectStatus(200, await app.as(user).post(at));
    expect(same.body.id).to.equal(opened.body.id);

    const [listed] = expectStatus(200, await app.as(user).get(CONNECTIONS)).body.data;
    expect(listed.lastSync).to.include({ importId: opened.body.id, status: "queued" });
    expectStatus(400, await app.as(user).post(`${at}?from=2024-01-02T00:00:00Z&until=2024-01-01T00:00:00Z`));
    expectStatus(404, await app.as(user).post(`${CONNECTIONS}/${randomUUID()}/sync`));

    await app.deps.database.pool.query("update connections set status = 'needs_reauth' where id = $1", [id]);
    expect(expectStatus(409, await app.as(user).post(at)).body.code).to.equal("needs_reauth");
    expectStatus(204, await app.as(user).delete(`${CONNECTIONS}/${id}`));
    expectStatus(200, await app.as(user).get(`/api/v1/imports/${opened.body.id}`));
  });

  it("say how many stretches of time a provider could not tell about any more", async () => {
    const { id } = expectStatus(201, await connect({ provider: "lastfm", username: "ada" })).body;
    await app.deps.database.pool.query(
      "insert into sync_gaps (connection_id, gap_from, gap_until) values ($1, now() - interval '2 h', now())",
      [id],
    );
    const [listed] = expectStatus(200, await app.as(user).get(CONNECTIONS)).body.data;
    expect(listed.gaps).to.equal(1);
  });

  it("are at most fifty of one user", async () => {
    await app.deps.database.pool.query(
      `insert into connections (id, user_id, provider, account)
       select gen_random_uuid(), $1, 'lastfm', 'name ' || n from generate_series(1, 50) n`,
      [user.id],
    );
    const full = expectStatus(409, await connect({ provider: "lastfm", username: "ada" }));
    expect(full.body.code).to.equal("too_many_connections");
  });
});

describe("connections while the queue does not answer", () => {
  it("are listed, changed and synced all the same, within seconds; the queue is told later", async () => {
    const app = await startTestApp({ env: { TEMPORAL_ADDRESS: `127.0.0.1:${await freePort()}` } });
    try {
      const user = await buildUser(app);
      const { pool } = app.deps.database;
      const id = randomUUID();
      await pool.query(
        "insert into connections (id, user_id, provider, account) values ($1, $2, 'listenbrainz', 'ada')",
        [id, user.id],
      );
      const listed = app.as(user).get(CONNECTIONS);
      const schedule = { everyMinutes: 5, paused: false };
      const changed = app.as(user).put(`${CONNECTIONS}/${id}/schedule`, schedule);
      const synced = app.as(user).post(`${CONNECTIONS}/${id}/sync`);
      const [first] = expectStatus(200, await listed).body.data;
      expect(first).to.include({ id, status: "active" });
      expect(first.schedule.nextAt).to.equal(null);
      expect(expectStatus(200, await changed).body.schedule).to.deep.equal({ ...schedule, nextAt: null });
      expect(expectStatus(202, await synced).body.status).to.equal("queued");
      const { rows } = await pool.query("select every_minutes, scheduled from connections");
      expect(rows).to.deep.equal([{ every_minutes: 5, scheduled: null }]);
    } finally {
      await app.close();
    }
  });
});

describe("providers that nobody has set up", () => {
  let app: TestApp;
  let user: TestUser;
  before(async () => {
    app = await startTestApp();
    user = await buildUser(app);
  });
  after(() => app.close());

  it("are listed with the reason, and cannot be connected to", async () => {
    const { providers } = expectStatus(200, await app.as(user).get(CONNECTIONS)).body;
    const reasons = Object.fromEntries(
      providers.map((one: { provider: string; reason: string | null }) => [one.provider, one.reason]),
    ) as Record<string, string | null>;
    expect(reasons["listenbrainz"]).to.equal(null);
    expect(reasons["spotify"]).to.include("SPOTIFY_CLIENT_ID");
    expect(reasons["youtube"]).to.include("GOOGLE_CLIENT_ID");
    for (const answer of [
      await app.as(user).post(CONNECTIONS, { provider: "lastfm", username: "ada" }),
      await app.as(user).post(`${CONNECTIONS}/spotify/authorize`),
      await app.anonymous.get(`${CONNECTIONS}/youtube/callback?state=${"s".repeat(43)}&code=c`),
    ]) {
      expect(expectStatus(409, answer).body.code).to.equal("provider_unavailable");
    }
    expectStatus(404, await app.as(user).post(`${CONNECTIONS}/lastfm/authorize`));

    const id = randomUUID();
    await app.deps.database.pool.query(
      "insert into connections (id, user_id, provider, account) values ($1, $2, 'spotify', 'ada')",
      [id, user.id],
    );
    const [listed] = expectStatus(200, await app.as(user).get(CONNECTIONS)).body.data;
    expect(listed).to.include({ status: "unavailable" });
    const sync = expectStatus(409, await app.as(user).post(`${CONNECTIONS}/${id}/sync`));
    expect(sync.body.code).to.equal("provider_unavailable");
  });
});
