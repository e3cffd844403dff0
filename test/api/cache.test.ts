import http from "node:http";
import Router from "@koa/router";
import { expect } from "chai";
import Koa from "koa";
import { caching } from "../../api/middleware/cache.js";
import { endpoint, mount } from "../../api/middleware/endpoint.js";
import { serve } from "../../api/httpServer.js";
import type { AppRouter, AppState } from "../../api/types.js";
import { announceChange, historyOf } from "../../db/queries/cacheVersions.js";
import { KEPT_PER_USER } from "../../services/cache/StoredKeys.js";
import { createBench, json, plays } from "../services/import/importing.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { insertPlays } from "../support/plays.js";
import { startStatementCounter, type StatementCounter } from "../support/statementCounter.js";
import { until } from "../support/until.js";

const HISTORY = "/api/v1/listening-history";
const ME = "/api/v1/users/me";

interface RawAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer;
}

describe("cached answers", () => {
  let db: TestDatabase;
  let counter: StatementCounter;
  let app: TestApp;
  /** Another process on the same database and Redis. */
  let other: TestApp;
  let user: TestUser;

  before(async () => {
    db = await createTestDatabase();
    counter = await startStatementCounter(db.url);
    // `beside` would share the database of another app; this one is behind the counter.
    app = await startTestApp({ env: { DATABASE_URL: counter.url } });
    other = await startTestApp({ beside: app, env: { DATABASE_URL: db.url } });
  });
  beforeEach(async () => {
    user = await buildUser(app);
    await until("trust", () => app.listener.trusted && other.listener.trusted);
  });
  after(async () => {
    await other.close();
    await app.close();
    await counter.close();
    await db.drop();
  });

  const pool = () => db.database.pool;
  /** Both processes have heard of everything that is committed. */
  const heard = () => Promise.all([app.deps.pages.seen(), other.deps.pages.seen()]);
  const statements = async (work: () => Promise<unknown>): Promise<number> => {
    counter.reset();
    await work();
    return counter.total();
  };
  const get = async (path: string, from = app, by = user): Promise<Answer> =>
    expectStatus(200, await from.as(by).get(path));
  const idsOf = (answer: Answer): number[] => (answer.body.data as { id: number }[]).map(({ id }) => id);
  const keys = async (): Promise<string[]> => {
    await app.deps.redis.ping(); // behind what was written without anybody waiting for it
    return app.redisKeys.client.keys(`${app.redisKeys.namespace}:page:*`);
  };
  /** As it is on the wire; fetch unpacks, and adds headers to conditional requests. */
  const raw = (path: string, headers: Readonly<Record<string, string>> = {}): Promise<RawAnswer> =>
    new Promise((resolve, reject) => {
      http
        .get(`${app.url}${path}`, { headers: { authorization: `Bearer ${user.accessToken}`, ...headers } })
        .on("error", reject)
        .on("response", (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks),
            }),
          );
        });
    });

  it("cost no statement, whichever route and filters, session check included", async () => {
    const [id = 0] = await insertPlays(pool(), user.id, [{ playedAt: "2024-01-01T00:00:00Z" }]);
    await heard();
    for (const path of [
      ME,
      `/api/v1/users/${user.id}`,
      HISTORY,
      `${HISTORY}?counted=true`,
      `${HISTORY}/${id}`,
    ]) {
      const first = await get(path);
      expect(
        await statements(async () => expect((await get(path)).body).to.deep.equal(first.body)),
        path,
      ).to.equal(0);
    }
  });

  it("are shared by processes", async () => {
    const first = await get(HISTORY);
    await app.deps.redis.ping();
    const before = await keys();
    expect((await get(HISTORY, other)).body).to.deep.equal(first.body);
    expect(await keys()).to.have.members(before);
  });

  it("say that they belong to one reader and have to be checked each time", async () => {
    for (const answer of [await raw(HISTORY), await raw(HISTORY)]) {
      expect(answer.headers).to.include({
        "cache-control": "private, no-cache",
        vary: "Authorization, Accept-Encoding",
        "content-type": "application/json; charset=utf-8",
      });
      expect(answer.headers.etag).to.match(/^"[\w-]{22}"$/);
    }
    const refused = await app.as(user).get(`${HISTORY}?limit=0`);
    expect(refused.headers.get("cache-control")).to.equal("no-store");
  });

  it("are 304 without a statement for a client that has them, and 200 as soon as they differ", async () => {
    const { etag = "" } = (await raw(HISTORY)).headers;
    for (const header of [etag, `W/${etag}`, `"x", ${etag}`, "*"]) {
      await statements(async () => {
        const answer = await raw(HISTORY, { "if-none-match": header, "cache-control": "no-cache" });
        expect([answer.status, answer.body.length, answer.headers.etag], header).to.deep.equal([
          304,
          0,
          etag,
        ]);
        expect(answer.headers).to.include({ "cache-control": "private, no-cache" });
      }).then((count) => expect(count).to.equal(0));
    }
    expect((await raw(HISTORY, { "if-none-match": `"x"` })).status).to.equal(200);

    await insertPlays(pool(), user.id, [{ playedAt: "2024-01-01T00:00:00Z" }]);
    await heard();
    const changed = await raw(HISTORY, { "if-none-match": etag });
    expect(changed.status).to.equal(200);
    expect(changed.headers.etag).to.not.equal(etag);
  });

  it("stay 304 after a change that does not show in them", async () => {
    const { etag = "" } = (await raw(HISTORY)).headers;
    await announceChange(pool(), historyOf(user.id));
    await heard();
    expect((await raw(HISTORY, { "if-none-match": etag })).status).to.equal(304);
  });

  it("are compressed for those who can read it, under a tag of their own", async () => {
    await insertPlays(
      pool(),
      user.id,
      Array.from({ length: 30 }, (_, n) => ({ playedAt: new Date(1.7e12 + n * 1e6).toISOString() })),
    );
    await heard();
    const plain = await raw(HISTORY);
    const zipped = await raw(HISTORY, { "accept-encoding": "gzip" });
    expect(plain.headers["content-encoding"]).to.equal(undefined);
    expect(zipped.headers["content-encoding"]).to.equal("gzip");
    expect(zipped.body.length).to.be.below(plain.body.length / 3);
    expect(zipped.headers.etag).to.not.equal(plain.headers.etag);
    expect((await get(HISTORY)).body).to.deep.equal(JSON.parse(plain.body.toString()));
    const again = await raw(HISTORY, {
      "accept-encoding": "gzip",
      "if-none-match": zipped.headers.etag ?? "",
    });
    expect([again.status, again.headers.etag]).to.deep.equal([304, zipped.headers.etag]);
    const refused = await raw(HISTORY, { "accept-encoding": "gzip;q=0" });
    expect(refused.headers["content-encoding"]).to.equal(undefined);
  });

  it("show an import as soon as one of its batches is committed, and its undo", async () => {
    const bench = await createBench(pool());
    try {
      expect(idsOf(await get(HISTORY))).to.deep.equal([]);
      expect(idsOf(await get(HISTORY, other))).to.deep.equal([]);
      const job = await bench.job(user.id, json(plays(3)));
      await bench.run(job);
      await heard();
      expect(idsOf(await get(HISTORY))).to.have.length(3);
      expect(idsOf(await get(HISTORY, other))).to.have.length(3);

      await pool().query("update import_jobs set status = 'undoing' where id = $1", [job]);
      await bench.steps.undo(job, {
        signal: new AbortController().signal,
        heartbeat: () => undefined,
      } as never);
      await heard();
      expect(idsOf(await get(HISTORY))).to.deep.equal([]);
      expect(idsOf(await get(HISTORY, other))).to.deep.equal([]);
    } finally {
      await bench.close();
    }
  });

  it("obey privacy settings at once, also when they are changed by hand", async () => {
    const friend = await buildUser(app);
    const set = async (column: string, value: string): Promise<void> => {
      await pool().query(`update users set ${column} = $2 where id = $1`, [friend.id, value]);
      await heard();
    };
    const paths = [`/api/v1/users/${friend.id}`, `${HISTORY}?userId=${friend.id}`];
    for (const visibility of ["public", "private", "public"]) {
      await set("profile_visibility", visibility);
      await set("history_visibility", visibility);
      for (const from of [app, other, app])
        for (const path of paths)
          expect((await from.as(user).get(path)).status).to.equal(visibility === "public" ? 200 : 404);
    }
    await pool().query("delete from users where id = $1", [friend.id]);
    await heard();
    for (const path of paths) expect((await app.as(user).get(path)).status).to.equal(404);
    const left = await pool().query("select from cache_versions where owner = $1", [friend.id]);
    expect(left.rowCount).to.equal(0);
  });

  it("never are another user's", async () => {
    const stranger = await buildUser(app);
    await insertPlays(pool(), user.id, [{ playedAt: "2024-01-01T00:00:00Z", artist: "Mine Alone" }]);
    await heard();
    for (const path of [HISTORY, ME]) {
      const mine = await get(path);
      const theirs = await get(path, app, stranger);
      expect(theirs.body).to.not.deep.equal(mine.body);
      expect(theirs.headers.get("etag")).to.not.equal(mine.headers.get("etag"));
      expect(JSON.stringify(theirs.body)).to.not.match(new RegExp(`Mine Alone|${user.id}`));
    }
    for (const key of await keys()) {
      expect(key).to.match(/:page:[0-9a-f-]{36}:\/api\/v1\/[\w/:-]+:[\w-]{22}:(identity|gzip):.* \d+$/);
    }
  });

  it("have one key however a request is spelled", async () => {
    await get(`${HISTORY}?counted=true&order=desc&from=2024-01-01T01:00:00%2B01:00`);
    const same = `${HISTORY}?from=2024-01-01T00:00:00Z&limit=100&counted=true`;
    expect(await statements(() => get(same))).to.equal(0);
    expect(await statements(() => get(`${HISTORY}?from=2024-01-01T00:00:00Z&counted=false`))).to.be.above(0);
  });

  it("are bounded in number for one user, whatever filters they make up", async () => {
    for (let n = 0; n < KEPT_PER_USER + 8; n += 1) await get(`${HISTORY}?artist=somebody${n}`);
    const own = (await keys()).filter((key) => key.includes(`:page:${user.id}:`));
    expect(own).to.have.length(KEPT_PER_USER);
    expect(own.join()).to.not.include("somebody");
  });

  it("are not kept for pages deeper in, others' single plays, and what is not there", async () => {
    const friend = await buildUser(app);
    const [id = 0] = await insertPlays(pool(), friend.id, [{ playedAt: "2024-01-01T00:00:00Z" }]);
    await insertPlays(pool(), user.id, [
      { playedAt: "2024-01-01T00:00:00Z" },
      { playedAt: "2024-01-02T00:00:00Z" },
    ]);
    await heard();
    expect((await app.as(user).get(`${HISTORY}/${id}`)).status).to.equal(404);
    await pool().query("update users set history_visibility = 'public' where id = $1", [friend.id]);
    await heard();
    expect((await get(`${HISTORY}/${id}`)).body.id).to.equal(id);
    await pool().query("update users set history_visibility = 'private' where id = $1", [friend.id]);
    expect((await app.as(user).get(`${HISTORY}/${id}`)).status, "asked each time").to.equal(404);

    const { nextCursor } = (await get(`${HISTORY}?limit=1`)).body as { nextCursor: string };
    for (const path of [`${HISTORY}?limit=1&cursor=${nextCursor}`, `${HISTORY}?limit=1&page=2`]) {
      await get(path);
      expect(await statements(() => get(path)), path).to.equal(1);
    }
  });

  it("show a writer its own change in the next answer", async () => {
    const router: AppRouter = new Router();
    const rename = endpoint({
      method: "post",
      path: "/rename",
      operationId: "rename",
      summary: "",
      tags: [],
      auth: "none",
      changes: true,
      responses: {},
    });
    let name = "";
    mount(router, rename, async (ctx) => {
      await pool().query("update users set display_name = $2 where id = $1", [user.id, name]);
      ctx.status = 204;
    });
    const koa = new Koa<AppState, object>();
    koa.use(caching(app.deps.pages)).use(router.routes());
    const server = await serve(koa, "127.0.0.1", 0);
    try {
      for (let n = 0; n < 30; n += 1) {
        name = `Name ${n}`;
        expect((await fetch(`${server.url}/rename`, { method: "POST" })).status).to.equal(204);
        expect((await get(ME)).body.displayName).to.equal(name);
      }
    } finally {
      await server.close(1000);
    }
  });

  it("are right while the process does not hear of changes, at the price of a statement", async () => {
    await get(HISTORY);
    const terminated = await pool().query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'playlog-listener'`,
    );
    expect(terminated.rowCount).to.be.above(0);
    await until("the end of trust", () => !app.listener.trusted);
    const [id] = await insertPlays(pool(), user.id, [{ playedAt: "2024-01-01T00:00:00Z" }]);
    expect(idsOf(await get(HISTORY))).to.deep.equal([id]);
    await until("trust", () => app.listener.trusted);
    expect(idsOf(await get(HISTORY))).to.deep.equal([id]);
  });

  it("are counted by route, as hits, misses and bypasses", async () => {
    await get(HISTORY);
    await get(HISTORY);
    const text = await app.deps.metrics.registry.getSingleMetricAsString("playlog_cache_answers_total");
    for (const outcome of ["hit", "miss"])
      expect(text).to.match(new RegExp(`\\{route="${HISTORY}",outcome="${outcome}"\\} [1-9]`));
    expect(text).to.match(new RegExp(`\\{route="${HISTORY}/:id",outcome="bypass"\\} [1-9]`));
  });
});
