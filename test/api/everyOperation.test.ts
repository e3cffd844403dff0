/** One pass through everything that the OpenAPI document offers. Each answer is held against it by the client itself. */
import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { contract, operationOf } from "../support/contract.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { startStandIn, type StandIn } from "../support/providers/standIn.js";

const V1 = "/api/v1";
const TIME = "2024-02-01T10:00:00Z";

describe("every operation of the OpenAPI document", () => {
  let app: TestApp;
  let admin: TestUser;
  let standIn: StandIn;
  const called = new Set<string>();

  before(async () => {
    standIn = await startStandIn();
    app = await startTestApp({ env: standIn.environment });
    admin = await buildUser(app);
  });
  after(async () => {
    await app.close();
    await standIn.stop();
  });

  /** One request as the admin, or as `token` says, that must succeed. */
  async function call(method: string, path: string, json?: unknown, as = admin.accessToken): Promise<Answer> {
    const answer = await app.as({ accessToken: as }).request(method, path, json);
    if (answer.status >= 300)
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    const operation = operationOf(method, path);
    expect(operation, `${method} ${path}`).to.not.equal(undefined);
    called.add(operation!.operationId);
    return answer;
  }
  const set = (id: string, what: string): Promise<unknown> =>
    app.deps.database.pool.query(`update import_jobs set ${what} where id = $1`, [id]);

  it("is answered as it says: the service itself", async () => {
    for (const root of ["", V1])
      for (const part of ["", "/ready", "/db", "/dependencies"]) await call("GET", `${root}/health${part}`);
    await call("GET", "/openapi.json");
    const { body: page } = await call("GET", "/docs");
    const asset = /\/docs\/assets\/[\w.-]+/.exec(String(page))?.[0];
    await call("GET", asset!);
  });

  it("is answered as it says: accounts", async () => {
    const account = { email: "ada@example.org", username: "ada", password: "a long enough password" };
    const { body: ada } = await call("POST", `${V1}/auth/register`, account);
    await call("POST", `${V1}/auth/login`, { login: "ada", password: account.password });
    const { body: fresh } = await call("POST", `${V1}/auth/refresh`, { refreshToken: ada.refreshToken });
    const token = fresh.accessToken as string;
    const sessions = await call("GET", `${V1}/auth/sessions`, undefined, token);
    const other = sessions.body.data.find((one: { current: boolean }) => !one.current);
    await call("DELETE", `${V1}/auth/sessions/${other.id}`, undefined, token);
    const made = await call("POST", `${V1}/auth/tokens`, { name: "script", scopes: ["read"] }, token);
    await call("GET", `${V1}/users/me`, undefined, made.body.token as string);
    await call("GET", `${V1}/auth/tokens`, undefined, token);
    await call("DELETE", `${V1}/auth/tokens/${made.body.id}`, undefined, token);
    for (const where of ["me", ada.user.id as string]) {
      await call("PATCH", `${V1}/users/${where}`, { bio: "Mostly on trains." }, token);
      const { body: user } = await call("GET", `${V1}/users/${where}`, undefined, token);
      const { email, username, displayName, bio, country } = user;
      await call("PUT", `${V1}/users/${where}`, { email, username, displayName, bio, country }, token);
    }
    await call("PUT", `${V1}/users/${ada.user.id}/role`, { role: "editor" });
    await call("GET", `${V1}/users/me/export`, undefined, token);

    const changed = await call(
      "POST",
      `${V1}/auth/password`,
      { currentPassword: account.password, newPassword: "an even longer password" },
      token,
    );
    await call("POST", `${V1}/auth/logout`, undefined, changed.body.accessToken as string);
    const login = { login: "ada", password: "an even longer password" };
    for (const [method, path, body] of [
      ["POST", "/auth/logout-all", undefined],
      ["DELETE", "/users/me", { password: login.password }],
    ] as const) {
      const { body: again } = await call("POST", `${V1}/auth/login`, login);
      await call(method, `${V1}${path}`, body, again.accessToken as string);
    }
  });

  it("is answered as it says: the history, the catalogue, search and statistics", async () => {
    const artist = (await call("POST", `${V1}/artists`, { name: "Velvet Harbour" })).body;
    const ofArtist = { artistId: artist.id as number };
    const album = (await call("POST", `${V1}/albums`, { title: "Night Ferry", ...ofArtist })).body;
    const track = (
      await call("POST", `${V1}/tracks`, { title: "Last Train", durationMs: 200_000, ...ofArtist })
    ).body;

    const play = { playedAt: TIME, msPlayed: 190_000, trackId: track.id as number };
    const listen = (await call("POST", `${V1}/listening-history`, play)).body;
    expectStatus(200, await call("POST", `${V1}/listening-history`, play));
    const named = {
      playedAt: "2024-02-01T10:05:00Z",
      track: { title: "Ferry Song", artist: "Velvet Harbour" },
    };
    const batch = await call("POST", `${V1}/listening-history/batch`, { listens: [play, named] });
    expect(batch.body.counts).to.include({ created: 1, duplicate: 1 });
    await call("GET", `${V1}/listening-history?includeTotal=true&limit=1`);
    const one = `${V1}/listening-history/${listen.id}`;
    await call("GET", one);
    await call("PATCH", one, { msPlayed: 195_000 });
    await call("PUT", one, play);
    const second = batch.body.data[1].id as number;
    await app.deps.database.pool.query("update listening_history set duplicate_of = $1 where id = $2", [
      listen.id,
      second,
    ]);
    await call("POST", `${V1}/listening-history/${second}/unlink`);

    for (const [kind, item, other] of [
      ["artists", artist, { name: "Velvet Harbor" }],
      ["albums", album, { title: "Nightferry", ...ofArtist }],
      ["tracks", track, { title: "Last Trane", ...ofArtist }],
    ] as const) {
      const address = `${V1}/${kind}/${item.id}`;
      await call("GET", `${V1}/${kind}?sort=name`);
      await call("GET", address);
      const label = kind === "artists" ? { name: item.name } : { title: item.title };
      await call("PUT", address, label);
      await call("PATCH", address, label);
      const twin = (await call("POST", `${V1}/${kind}`, other)).body;
      await call("POST", `${V1}/${kind}/${twin.id}/merge`, { into: item.id });
      expectStatus(308, await app.as(admin).get(`${V1}/${kind}/${twin.id}`));
    }

    await call("GET", `${V1}/search?q=velvet&type=artist,track`);
    for (const part of ["summary", "top/artists", "top/albums", "top/tracks", "activity?bucket=month"])
      await call("GET", `${V1}/stats/${part}`);
    await call("DELETE", one);
  });

  it("is answered as it says: imports", async () => {
    const upload = async (name: string): Promise<string> => {
      const answer = await app.as(admin).post(`${V1}/imports?filename=${name}`, undefined, {
        raw: JSON.stringify([name]),
        headers: { "content-type": "application/json" },
      });
      called.add(operationOf("POST", `${V1}/imports`)!.operationId);
      return expectStatus(202, answer).body.id as string;
    };
    const id = await upload("a.json");
    const at = `${V1}/imports/${id}`;
    await call("GET", `${V1}/imports`);
    await call("GET", at);
    await call("GET", `${at}/rows`);
    await call("POST", `${at}/pause`);
    await call("POST", `${at}/resume`);
    await call("POST", `${at}/cancel`);
    await set(id, "status = 'cancelled', finished_at = now()");
    await call("GET", `${at}/events`);
    await call("POST", `${at}/retry`);
    await set(id, "status = 'completed', finished_at = now()");
    await call("POST", `${at}/undo`);
  });

  it("is answered as it says: connections", async () => {
    const at = `${V1}/connections`;
    const { url } = (await call("POST", `${at}/spotify/authorize`)).body as { url: string };
    const back = new URL((await fetch(url, { redirect: "manual" })).headers.get("location") ?? "");
    await call("GET", `${at}/spotify/callback${back.search}`);
    standIn.lastfm.scrobbles.set("ada", []);
    const { body: made } = await call("POST", at, { provider: "lastfm", username: "ada" });
    await call("PUT", `${at}/${made.id}/schedule`, { everyMinutes: 60, paused: true });
    await call("POST", `${at}/${made.id}/sync`);
    const { body: list } = await call("GET", at);
    for (const { id } of list.data as { id: string }[]) await call("DELETE", `${at}/${id}`);
  });

  it("was called by now", () => {
    const offered = Object.values(contract.paths).flatMap((item) =>
      Object.values(item).map(({ operationId }) => operationId),
    );
    expect(offered.filter((operation) => !called.has(operation))).to.deep.equal([]);
  });
});
