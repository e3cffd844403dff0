import { createHash } from "node:crypto";
import { expect } from "chai";
import { forgetConnections } from "../../services/connections/forgetting.js";
import { callbackUrl } from "../../services/connections/oauth/clients.js";
import { loadConnectionSecrets } from "../../services/connections/secrets.js";
import { pruneStates } from "../../services/connections/oauth/states.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { makeToken } from "../support/credentials.js";
import { dumpOf } from "../support/dump.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { broken, json } from "../support/providers/exchange.js";
import { startStandIn, type StandIn } from "../support/providers/standIn.js";
import { forgetSchedules } from "../support/schedules.js";

const CONNECTIONS = "/api/v1/connections";
type Provider = "spotify" | "youtube";

describe("connections whose owner agrees at the provider", () => {
  let app: TestApp;
  let standIn: StandIn;
  let user: TestUser;
  let other: TestUser;
  before(async () => {
    standIn = await startStandIn();
    app = await startTestApp({
      env: { ...standIn.environment, PUBLIC_URL: "https://play.example.org/music/" },
    });
    user = await buildUser(app, { username: "ann" });
    other = await buildUser(app, { username: "bob" });
  });
  afterEach(async () => {
    standIn.reset();
    standIn.spotify.oauth.account = "ada";
    standIn.google.oauth.account = "ada";
    await forgetSchedules(app);
    await app.deps.database.pool.query("delete from connections");
    await app.deps.database.pool.query("delete from oauth_states");
  });
  after(async () => {
    await app.close();
    await standIn.stop();
  });

  async function begin(as = user, provider: Provider = "spotify"): Promise<URL> {
    const { body } = expectStatus(200, await app.as(as).post(`${CONNECTIONS}/${provider}/authorize`));
    return new URL(body.url as string);
  }
  /** What the provider sends the browser back with. */
  async function agree(url: URL): Promise<URLSearchParams> {
    const answer = await fetch(url, { redirect: "manual" });
    return new URL(answer.headers.get("location") ?? "").searchParams;
  }
  const callback = (query: URLSearchParams | string, provider: Provider = "spotify"): Promise<Answer> =>
    app.anonymous.get(`${CONNECTIONS}/${provider}/callback?${query}`);
  const connected = async (as = user) => expectStatus(200, await app.as(as).get(CONNECTIONS)).body.data;
  const refused = async (query: URLSearchParams | string, code: string, provider: Provider = "spotify") => {
    expect(expectStatus(400, await callback(query, provider)).body.code).to.equal(code);
    const { rows } = await app.deps.database.pool.query("select from connections");
    expect(rows).to.have.length(0);
  };

  it("go there with a state, a challenge and the one address to come back to", async () => {
    const url = await begin();
    expect(`${url.origin}${url.pathname}`).to.equal(`${standIn.origin}/authorize`);
    const asked = Object.fromEntries(url.searchParams);
    expect(asked).to.include({
      response_type: "code",
      client_id: "spotify-client",
      scope: "user-read-recently-played",
      code_challenge_method: "S256",
      redirect_uri: "https://play.example.org/music/api/v1/connections/spotify/callback",
    });
    expect(asked["state"]).to.match(/^[\w-]{43}$/);
    expect(asked["code_challenge"]).to.match(/^[\w-]{43}$/);
    const google = Object.fromEntries((await begin(user, "youtube")).searchParams);
    expect(google).to.include({ access_type: "offline", prompt: "consent" });
    expect(google["scope"])
      .to.match(/dataportability\.myactivity\.youtube$/)
      .and.to.not.include(" ");
    expect(callbackUrl("http://localhost:3000", "spotify")).to.equal(
      "http://127.0.0.1:3000/api/v1/connections/spotify/callback",
    );
  });

  it("are there when the browser is back, and opened again by the same way", async () => {
    const back = await callback(await agree(await begin()));
    expect(expectStatus(200, back).body).to.deep.equal({
      provider: "spotify",
      account: "ada",
      username: "ann",
    });
    expect(back.headers.get("cache-control")).to.equal("no-store");
    expect(back.headers.get("referrer-policy")).to.equal("no-referrer");
    const [first] = await connected();
    expect(first).to.include({ provider: "spotify", account: "ada", status: "active" });
    expect(first.schedule).to.include({ everyMinutes: 15, paused: false });
    expect(await app.deps.queue.inspectSchedule(first.id)).to.include({ everyMinutes: 15 });
    expect(await connected(other)).to.deep.equal([]);

    await app.deps.database.pool.query("update connections set status = 'needs_reauth'");
    expectStatus(200, await callback(await agree(await begin())));
    const again = await connected();
    expect(again).to.have.length(1);
    expect(again[0]).to.include({ id: first.id, status: "active" });
  });

  it("take a state once, of ten that come back at the same time", async () => {
    const query = await agree(await begin());
    const answers = await Promise.all(Array.from({ length: 10 }, () => callback(query)));
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, ...Array<number>(9).fill(400)]);
    const losers = answers.filter(({ status }) => status === 400);
    for (const { body } of losers) expect(body.code).to.equal("bad_state");
    expect(await connected()).to.have.length(1);
  });

  it("take no state that is missing, made up, another provider's, too old, used up or of a session that is over", async () => {
    const good = await agree(await begin());
    const code = good.get("code") ?? "";
    for (const state of ["", "x", "a".repeat(43), `${good.get("state")}a`, "é".repeat(43)])
      await refused(new URLSearchParams({ code, ...(state === "" ? {} : { state }) }), "bad_state");
    await refused(good, "bad_state", "youtube");

    const aged = await agree(await begin());
    const hash = createHash("sha256")
      .update(aged.get("state") ?? "")
      .digest();
    await app.deps.database.pool.query(
      "update oauth_states set created_at = now() - interval '10 minutes 1 second' where state_hash = $1",
      [hash],
    );
    await refused(aged, "bad_state");
    const { pool } = app.deps.database;
    expect(await pruneStates(pool)).to.equal(1);
    expect((await pool.query("select from oauth_states")).rowCount).to.equal(1);

    const denied = new URLSearchParams({ state: good.get("state") ?? "", error: "access_denied" });
    await refused(denied, "access_denied");
    await refused(good, "bad_state"); // by now it is used

    const leaver = await buildUser(app);
    const late = await agree(await begin(leaver));
    expectStatus(204, await app.as(leaver).post("/api/v1/auth/logout"));
    await refused(late, "bad_state");
  });

  it("are not made when the owner says no, the provider fails, or somebody else answers", async () => {
    standIn.spotify.oauth.account = null;
    await refused(await agree(await begin()), "access_denied");
    standIn.spotify.oauth.account = "ada";
    const stateOf = async () => (await begin()).searchParams.get("state") ?? "";
    await refused(
      new URLSearchParams({ state: await stateOf(), error: "server_error" }),
      "authorization_failed",
    );
    await refused(new URLSearchParams({ state: await stateOf() }), "authorization_failed");

    const foreign = await agree(await begin());
    foreign.set("iss", "https://somebody.example.org");
    await refused(foreign, "wrong_issuer");
    const own = await agree(await begin());
    own.set("iss", standIn.origin);
    own.set("session_state", "whatever a provider adds");
    expectStatus(200, await callback(own));
  });

  it("take no code that was given for another authorization", async () => {
    const [mine, theirs] = [await agree(await begin()), await agree(await begin(other))];
    await refused(
      new URLSearchParams({ state: mine.get("state") ?? "", code: theirs.get("code") ?? "" }),
      "token_refused",
    );
    await refused(
      new URLSearchParams({ state: theirs.get("state") ?? "", code: "made-up" }),
      "token_refused",
    );
  });

  it("are not made of less than was asked for, of no token, or of an answer that does not come", async () => {
    for (const [answer, status, code] of [
      [json(200, { access_token: "t", scope: "user-read-email" }), 400, "token_refused"],
      [json(200, { access_token: "two\r\nlines" }), 503, "provider_error"],
      [json(400, { error: "invalid_client" }), 503, "provider_error"],
      [broken(502), 503, "provider_error"],
    ] as const) {
      standIn.next("/api/token", answer);
      expect(expectStatus(status, await callback(await agree(await begin()))).body.code).to.equal(code);
    }
    expect(await connected()).to.deep.equal([]);
  });

  it("leave an account to whoever connected it first, also when two come at once", async () => {
    expectStatus(200, await callback(await agree(await begin())));
    const second = expectStatus(409, await callback(await agree(await begin(other))));
    expect(second.body.code).to.equal("account_taken");
    expect(await connected()).to.have.length(1);
    expect(await connected(other)).to.deep.equal([]);

    standIn.spotify.oauth.account = "grace";
    const both = [await agree(await begin()), await agree(await begin(other))];
    const answers = await Promise.all(both.map((query) => callback(query)));
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 409]);
    const accounts = [...(await connected()), ...(await connected(other))].map(
      (one: { account: string }) => one.account,
    );
    expect(accounts.sort()).to.deep.equal(["ada", "grace"]);
  });

  it("end on a page in a browser, which says whose account it is now and nothing secret", async () => {
    const look = (query: URLSearchParams) =>
      fetch(`${app.url}${CONNECTIONS}/spotify/callback?${query}`, {
        headers: { accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" },
      });
    standIn.spotify.oauth.account = "<b>ada</b>";
    const query = await agree(await begin());
    const page = await look(query);
    const html = await page.text();
    expect(page.status).to.equal(200);
    expect(page.headers.get("content-type")).to.match(/^text\/html/);
    expect(page.headers.get("content-security-policy")).to.include("default-src 'none'");
    expect(page.headers.get("cache-control")).to.equal("no-store");
    expect(html).to.include("&lt;b&gt;ada&lt;/b&gt;").and.to.include("ann");
    const again = await look(query);
    expect(again.status).to.equal(400);
    expect(again.headers.get("content-type")).to.match(/^text\/html/);
    const text = html + (await again.text());
    for (const secret of [query.get("code")!, query.get("state")!, "access-", "refresh-"])
      expect(text).to.not.include(secret);
  });

  it("leave no state, code, verifier or token in the database, the logs and the answers", async () => {
    const url = await begin();
    const query = await agree(url);
    const { body } = expectStatus(200, await callback(query));
    await agree(await begin()); // one that is still on its way
    const { access, refresh } = standIn.spotify.oauth;
    const verifiers = standIn.seen.flatMap((one) => new URLSearchParams(one.body).get("code_verifier") ?? []);
    expect(verifiers).to.have.length(1);
    const secrets = [
      ...access.keys(),
      ...refresh.keys(),
      ...verifiers,
      query.get("code")!,
      query.get("state")!,
    ];
    const { client, namespace } = app.redisKeys;
    const keys = await client.keys(`${namespace}:*`);
    const text = [await dumpOf(app.deps.database.pool), app.logs(), JSON.stringify(body), ...keys].join("\n");
    for (const secret of secrets) {
      expect(secret.length).to.be.above(20);
      for (const form of [
        secret,
        Buffer.from(secret).toString("hex"),
        Buffer.from(secret).toString("base64"),
      ])
        expect(text.includes(form), "a form of a secret").to.equal(false);
    }
  });

  it("are given back to the provider when they are deleted, where it has a way to", async () => {
    expectStatus(200, await callback(await agree(await begin(user, "youtube")), "youtube"));
    const [{ id }] = await connected();
    const [refreshToken] = [...standIn.google.oauth.refresh.keys()].slice(-1);
    expectStatus(204, await app.as(user).delete(`${CONNECTIONS}/${id}`));
    expect(standIn.google.oauth.revoked).to.deep.equal([refreshToken]);

    expectStatus(200, await callback(await agree(await begin(user, "youtube")), "youtube"));
    const [erased] = await connected();
    const secrets = await loadConnectionSecrets(app.config);
    const { pool } = app.deps.database;
    let asked = 0;
    await forgetConnections({ ...app.deps, ...secrets, pool }, user.id, () => void (asked += 1));
    expect(asked).to.equal(1);
    expect(standIn.google.oauth.revoked).to.have.length(2);
    expect(await connected()).to.deep.equal([]);
    expect(await app.deps.queue.inspectSchedule(erased.id)).to.equal(null);

    expectStatus(200, await callback(await agree(await begin(user, "youtube")), "youtube"));
    standIn.always("/revoke", broken());
    const [second] = await connected();
    expectStatus(204, await app.as(user).delete(`${CONNECTIONS}/${second.id}`));
    expect(await connected()).to.deep.equal([]);
  });

  it("are begun by sessions only, ten at a time", async () => {
    const token = await makeToken(app, user, ["read", "write", "import"]);
    expectStatus(403, await app.as(token).post(`${CONNECTIONS}/spotify/authorize`));
    const urls = [];
    for (let n = 0; n < 12; n += 1) urls.push(await begin());
    const { rows } = await app.deps.database.pool.query<{ n: number }>(
      "select count(*)::int as n from oauth_states where user_id = $1",
      [user.id],
    );
    expect(rows[0]!.n).to.equal(10);
    await refused(await agree(urls[0]!), "bad_state");
    expectStatus(200, await callback(await agree(urls[11]!)));
  });
});
