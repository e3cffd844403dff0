/** Every address that names something of one account, with every method, as everybody but its owner. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { endpoints } from "../../api/routes/index.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { contract } from "../support/contract.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";

/** What belongs to nobody, so that everybody sees it. */
const SHARED = /^\/api\/v1\/(tracks|artists|albums)\//;
const NO_SUCH_LISTEN = Number.MAX_SAFE_INTEGER;

/** In place of the document's example, which shows every field, where some exclude each other. */
const BODIES: Readonly<Record<string, object>> = {
  replaceListen: { playedAt: "2024-02-01T10:00:00Z", track: { title: "Other", artist: "Somebody" } },
  changeListen: { msPlayed: 1 },
};

interface WithBody {
  readonly requestBody?: { readonly content: Record<string, { readonly example?: object }> };
}

const owned = endpoints.filter(
  ({ path, auth }) => path.includes("/:") && auth === "user" && !SHARED.test(path),
);

describe("what belongs to an account", () => {
  let app: TestApp;
  let owner: TestUser;
  let stranger: TestUser;
  let erased: TestUser;
  /** By the address up to the parameter: an id of the owner's, and one of nothing. */
  let ids: Readonly<Record<string, readonly [own: string, none: string]>>;

  before(async () => {
    app = await startTestApp();
    await buildUser(app); // the admin, who is neither
    owner = await buildUser(app);
    stranger = await buildUser(app);
    erased = await buildUser(app);
    const as = app.as(owner);
    const listen = expectStatus(
      201,
      await as.post("/api/v1/listening-history", {
        playedAt: "2024-02-01T10:00:00Z",
        track: { title: "Song", artist: "Somebody" },
      }),
    );
    const upload = expectStatus(
      202,
      await as.post("/api/v1/imports?filename=history.json", undefined, {
        raw: "[]",
        headers: { "content-type": "application/json" },
      }),
    );
    const token = expectStatus(
      201,
      await as.post("/api/v1/auth/tokens", { name: "script", scopes: ["read"] }),
    );
    const sessions = expectStatus(200, await as.get("/api/v1/auth/sessions"));
    const connection = randomUUID();
    await app.deps.database.pool.query(
      "insert into connections (id, user_id, provider, account) values ($1, $2, 'listenbrainz', 'ada')",
      [connection, owner.id],
    );
    ids = {
      "/api/v1/listening-history": [String(listen.body.id), String(NO_SUCH_LISTEN)],
      "/api/v1/connections": [connection, randomUUID()],
      "/api/v1/imports": [upload.body.id, randomUUID()],
      "/api/v1/auth/tokens": [token.body.id, randomUUID()],
      "/api/v1/auth/sessions": [sessions.body.data[0].id, randomUUID()],
      "/api/v1/users": [owner.id, randomUUID()],
    };
    expectStatus(202, await app.as(erased).delete("/api/v1/users/me", { password: erased.password }));
  });
  after(() => app.close());

  const bodyOf = (operationId: string, path: string, method: string): object | undefined => {
    const operation = contract.paths[path.replace(/:(\w+)/g, "{$1}")]?.[method] as WithBody | undefined;
    return BODIES[operationId] ?? operation?.requestBody?.content["application/json"]?.example;
  };
  /** The two addresses that an endpoint of this path has here. */
  const addressesOf = (path: string): readonly [own: string, none: string] => {
    const [start = "", rest = ""] = path.split(/\/:\w+/);
    const pair = ids[start];
    if (pair === undefined) throw new Error(`${path}: say here whose it is`);
    return [`${start}/${pair[0]}${rest}`, `${start}/${pair[1]}${rest}`];
  };
  /** All that somebody could compare, without what is another in each answer. */
  const withoutId = ({ status, headers, body }: Answer): unknown => ({
    status,
    headers: [...headers].filter(([name]) => name !== "x-request-id" && name !== "date"),
    body: body !== null && typeof body === "object" ? { ...body, requestId: null } : body,
  });
  /** Everything that the database knows of the owner. */
  const known = async (): Promise<unknown> => {
    const { pool } = app.deps.database;
    const { rows } = await pool.query<{ table_name: string }>(
      "select table_name from information_schema.columns where table_schema = 'public' and column_name = 'user_id' order by 1",
    );
    const digests = [];
    for (const [table, column] of [...rows.map((row) => [row.table_name, "user_id"]), ["users", "id"]]) {
      const digest = await pool.query<{ md5: string | null }>(
        `select md5(string_agg(t::text, '|' order by t::text)) from ${table} t where ${column} = $1`,
        [owner.id],
      );
      digests.push([table, digest.rows[0]!.md5]);
    }
    return digests;
  };

  for (const { method, path, operationId } of owned) {
    it(`${method.toUpperCase()} ${path} answers a stranger like an id that never was, and others not at all`, async () => {
      const [own, none] = addressesOf(path);
      const body = bodyOf(operationId, path, method);
      const before = await known();

      const asStranger = await app.as(stranger).request(method.toUpperCase(), own, body);
      expect(asStranger.status).to.be.oneOf([403, 404]);
      expect(withoutId(asStranger)).to.deep.equal(
        withoutId(await app.as(stranger).request(method.toUpperCase(), none, body)),
      );
      for (const client of [app.anonymous, app.as(erased)])
        expect((await client.request(method.toUpperCase(), own, body)).status).to.equal(401);

      expect(await known()).to.deep.equal(before);
    });
  }

  it("is not in what another account may ask for by user either", async () => {
    const lists = endpoints.filter(
      ({ method, query, auth }) =>
        method === "get" && auth === "user" && query !== undefined && "userId" in query.describe()["keys"],
    );
    expect(lists.length).to.be.above(1);
    for (const { path } of lists) {
      const extra = path.endsWith("/activity") ? "&bucket=month" : "";
      const ask = (id: string) => app.as(stranger).get(`${path}?userId=${id}${extra}`);
      const answer = await ask(owner.id);
      expect(answer.status, path).to.equal(404);
      expect(withoutId(answer), path).to.deep.equal(withoutId(await ask(randomUUID())));
    }
  });

  it("is there for its owner at each of these addresses", async () => {
    // Else its events would not end.
    await app.deps.database.pool.query(
      "update import_jobs set status = 'completed', finished_at = now() where user_id = $1",
      [owner.id],
    );
    // What is deleted cannot be asked for any more; the session is what all of this is asked with.
    const turn = ({ method, path }: (typeof owned)[number]): number =>
      path.includes("/sessions/") ? 3 : method === "delete" ? 2 : method === "get" ? 0 : 1;
    const named = owned.filter(({ path }) => path.includes("/:id"));
    for (const { method, path, operationId, role } of named.toSorted((a, b) => turn(a) - turn(b))) {
      const [own] = addressesOf(path);
      const { status, body } = await app
        .as(owner)
        .request(method.toUpperCase(), own, bodyOf(operationId, path, method));
      const what = `${method} ${path}: ${JSON.stringify(body)}`;
      if (role !== undefined) expect(body.code, what).to.equal("role_required");
      else expect(status < 300 || body.code === "wrong_state", what).to.equal(true);
    }
    expect((await app.as(owner).get("/api/v1/users/me")).status).to.equal(401);
  });
});

describe("what belongs to everybody", () => {
  let app: TestApp;
  let editor: TestUser;
  let reader: TestUser;
  before(async () => {
    app = await startTestApp();
    editor = await buildUser(app);
    reader = await buildUser(app);
  });
  after(() => app.close());

  it("is changed by editors only, whatever its id", async () => {
    const artist = expectStatus(201, await app.as(reader).post("/api/v1/artists", { name: "Somebody" })).body;
    const shared = endpoints.filter(({ path, method }) => SHARED.test(path) && method !== "get");
    expect(shared.length).to.be.above(5);
    for (const { path, method } of shared) {
      for (const id of [artist.id, 4711]) {
        const answer = await app
          .as(reader)
          .request(method.toUpperCase(), path.replace(":id", String(id)), {});
        expect([path, answer.status, answer.body.code]).to.deep.equal([path, 403, "role_required"]);
      }
    }
    const changed = await app.as(editor).patch(`/api/v1/artists/${artist.id}`, { country: "GB" });
    expect(expectStatus(200, changed).body.country).to.equal("GB");
  });
});
