import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { randomName, registration } from "../support/factories.js";
import type { Answer, Client } from "../support/http.js";
import { testStack } from "../support/stack.js";
import { startTcpProxy } from "../support/tcpProxy.js";

const ME = "/api/v1/users/me";
const LIMITS = {
  RATE_LIMIT: "on",
  RATE_READS: "5/60",
  RATE_WRITES: "4/60",
  RATE_UPLOADS: "2/60",
  RATE_LOGIN: "20/900",
  RATE_LOGIN_DEVICE: "3/900",
  RATE_LOGIN_ACCOUNT: "7/86400",
  RATE_REFRESH: "3/900",
};

interface Account {
  readonly login: string;
  readonly email: string;
  readonly password: string;
  readonly refreshToken: string;
  readonly client: Client;
}

let lastAddress = 0;
/** Each time another client, as a proxy on this machine would say. */
function address(): string {
  lastAddress += 1;
  return `198.51.${lastAddress >> 8}.${lastAddress & 255}`;
}
const from = (...hops: readonly string[]) => ({ headers: { "x-forwarded-for": hops.join(", ") } });

function expectLimited(answer: Answer, limit: string): void {
  expectStatus(429, answer);
  expect(answer.headers.get("content-type")).to.match(/^application\/problem\+json/);
  expect(answer.body).to.include({ code: "rate_limited", status: 429, title: "Too Many Requests" });
  const retryAfter = Number(answer.headers.get("retry-after"));
  expect(retryAfter).to.be.at.least(1);
  expect(answer.headers.get("ratelimit")).to.equal(`"${limit}";r=0;t=${retryAfter}`);
}
const statuses = (answers: readonly Answer[]): Record<number, number> => {
  const counts: Record<number, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
};
/** One after the other. */
async function times(count: number, ask: (n: number) => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let n = 0; n < count; n += 1) answers.push(await ask(n));
  return answers;
}
const atOnce = (count: number, ask: (n: number) => Promise<Answer>): Promise<Answer[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => ask(n)));

describe("how often one may ask", function () {
  this.timeout(30_000);
  let app: TestApp;

  before(async () => {
    app = await startTestApp({ env: { ...LIMITS, TRUSTED_PROXIES: "loopback" } });
  });
  after(() => app.close());

  const account = async (at = app): Promise<Account> => {
    const fields = registration();
    const { body } = expectStatus(
      201,
      await at.anonymous.post("/api/v1/auth/register", fields, from(address())),
    );
    const { username: login, email, password } = fields;
    return { login, email, password, refreshToken: body.refreshToken, client: at.as(body) };
  };
  const logIn = (login: string, password: string, ip: string, at = app): Promise<Answer> =>
    at.anonymous.post("/api/v1/auth/login", { login, password }, from(ip));
  const refused = async (): Promise<Record<string, number>> => {
    const metric = await app.deps.metrics.registry.getSingleMetric("playlog_rate_limited_total")?.get();
    return Object.fromEntries((metric?.values ?? []).map(({ labels, value }) => [labels["limit"], value]));
  };

  it("is counted by user and by kind of request, and said in headers", async () => {
    const { client } = await account();
    const other = await account();
    const before = await refused();
    const answers = await times(7, () => client.get(ME, from(address())));
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200, 200, 429, 429]);
    expect(answers[0]?.headers.get("ratelimit-policy")).to.equal('"reads";q=5;w=60');
    expect(answers[0]?.headers.get("ratelimit")).to.match(/^"reads";r=4;t=(5\d|6[0-6])$/);
    expect(answers[4]?.headers.get("ratelimit")).to.match(/^"reads";r=0;/);
    expectLimited(answers[5]!, "reads");
    expectStatus(200, await other.client.get(ME));
    const write = await client.post("/api/v1/auth/logout", {});
    expect(write.status).to.equal(204);
    expect(write.headers.get("ratelimit")).to.match(/^"writes";r=3;/);
    expect((await refused())["reads"]).to.equal((before["reads"] ?? 0) + 2);
  });

  it("is the same for every way to write an address", async () => {
    const { client } = await account();
    const ways = [
      "/api/v1/users/me/",
      "/API/V1/users/me",
      "//api/v1/users/me",
      "/api//v1/users/me",
      "/api/v1/users/ME",
      "/api/v1/./users/%6de",
    ];
    for (const way of ways) expect((await client.get(way)).status, way).to.be.oneOf([200, 404]);
    await times(5, () => client.get(ME));
    for (const way of [...ways, ME, `${ME}?`, `${ME}?x=1`]) {
      expect((await client.get(way)).status, way).to.be.oneOf([404, 429]);
    }
    expect((await client.request("HEAD", ME)).status).to.equal(429);
    expectLimited(await client.get("/api/v1/imports"), "reads");
  });

  it("is counted by address where the token is none, whatever stands left of it", async () => {
    const ip = address();
    const stranger = app.as({ accessToken: "not-a-token" });
    const answers = await times(8, (n) => stranger.get(ME, from(`10.0.0.${n}`, "evil", ip)));
    expect(answers.map(({ status }) => status)).to.deep.equal([401, 401, 401, 401, 401, 429, 429, 429]);
    expectStatus(401, await stranger.get(ME, from(address())));
    // Whose token works is not in the way of those.
    expectStatus(200, await (await account()).client.get(ME, from(ip)));
  });

  it("is counted for the whole of somebody's IPv6 network", async () => {
    const stranger = app.as({ accessToken: "not-a-token" });
    const answers = await times(6, (n) => stranger.get(ME, from(`2001:db8:5:6::${n}`)));
    expect(answers.at(-1)?.status).to.equal(429);
    expectStatus(401, await stranger.get(ME, from("2001:db8:5:7::1")));
    const mapped = await times(6, (n) =>
      stranger.get(ME, from(n % 2 === 0 ? "::ffff:192.0.2.1" : "192.0.2.1")),
    );
    expect(mapped.at(-1)?.status).to.equal(429);
  });

  it("takes nobody's word for an address but a proxy's, and says once that there is one to be named", async () => {
    const direct = await startTestApp({ beside: app, env: { ...LIMITS, TRUSTED_PROXIES: "10.0.0.0/8" } });
    try {
      const stranger = direct.as({ accessToken: "not-a-token" });
      const answers = await times(7, () => stranger.get(ME, from(address())));
      expect(answers.at(-1)?.status).to.equal(429);
      expect(direct.logs().match(/TRUSTED_PROXIES/g)).to.have.length(1);
    } finally {
      await direct.close();
    }
  });

  it("is counted by all processes together", async () => {
    const second = await startTestApp({ beside: app, env: { ...LIMITS, TRUSTED_PROXIES: "loopback" } });
    try {
      const { client, login, password } = await account();
      const { body } = expectStatus(200, await logIn(login, password, address(), second));
      const answers = [
        ...(await times(3, () => client.get(ME))),
        ...(await times(4, () => second.as(body).get(ME))),
      ];
      expect(statuses(answers)).to.deep.equal({ 200: 5, 429: 2 });
    } finally {
      await second.close();
    }
  });

  it("does not matter for health and documentation", async () => {
    for (const path of ["/health", "/health/ready", "/openapi.json", "/docs"]) {
      const answers = await times(8, () => app.anonymous.get(path));
      expect(statuses(answers), path).to.deep.equal({ 200: 8 });
      expect(answers[0]?.headers.get("ratelimit")).to.equal(null);
    }
  });

  it("has a limit of its own for uploads", async () => {
    const { client } = await account();
    const upload = (n: number): Promise<Answer> =>
      client.post("/api/v1/imports", undefined, {
        raw: JSON.stringify([n]),
        headers: { "content-type": "application/json" },
      });
    const answers = await times(3, upload);
    expect(answers.map(({ status }) => status)).to.deep.equal([202, 202, 429]);
    expectLimited(answers[2]!, "uploads");
  });

  describe("to log in", () => {
    it("are few tries for one account from one place, and a refused one is not even looked at", async () => {
      const { login, email } = await account();
      const { auth } = app.deps;
      const real = auth.login.bind(auth);
      let looked = 0;
      auth.login = (...args) => {
        looked += 1;
        return real(...args);
      };
      try {
        const ip = address();
        const answers = await atOnce(15, (n) =>
          logIn(n % 2 === 0 ? login : login.toUpperCase(), `wrong password ${n}`, ip),
        );
        expect(statuses(answers)).to.deep.equal({ 401: 3, 429: 12 });
        expect(looked).to.equal(3);
        const late = await logIn(login, "wrong password", ip);
        expectLimited(late, "login-device");
        expect(JSON.stringify(late.body)).to.not.include(login).and.not.include(email);
      } finally {
        auth.login = real;
      }
    });

    it("are so many for one account from everywhere, and none of them locks a known place out", async () => {
      const { login, password } = await account();
      const home = address();
      expectStatus(200, await logIn(login, password, home));
      const answers = await times(30, (n) => logIn(login, `wrong password ${n}`, address()));
      expect(statuses(answers)).to.deep.equal({ 401: 7, 429: 23 });
      expectLimited(await logIn(login, password, address()), "login-account");
      expectStatus(200, await logIn(login, password, home));
      expectStatus(401, await logIn(login, "mistyped password", home));
      expectStatus(200, await logIn(login, password, home));
    });

    it("are not counted where they succeed", async () => {
      const { login, password } = await account();
      const ip = address();
      const answers = await times(8, () => logIn(login, password, ip));
      expect(statuses(answers)).to.deep.equal({ 200: 8 });
    });

    it("are counted for one place over all accounts, and leave no password in the log", async () => {
      const ip = address();
      const earlier = app.logs().length;
      const answers = await atOnce(30, () => logIn(randomName("nobody"), "stuffed-canary-password", ip));
      expect(statuses(answers)).to.deep.equal({ 401: 20, 429: 10 });
      expectLimited(await logIn(randomName("nobody"), "stuffed-canary-password", ip), "login");
      const log = app.logs().slice(earlier);
      expect(log.match(/"route":"\/api\/v1\/auth\/login"/g)).to.have.length(31);
      expect(log).to.not.include("stuffed-canary-password").and.not.include("nobody_");
    });

    it("are few to find out which addresses have accounts", async () => {
      const { email } = await account();
      const ip = address();
      const register = (): Promise<Answer> =>
        app.anonymous.post("/api/v1/auth/register", registration({ email }), from(ip));
      expect(statuses(await times(6, register))).to.deep.equal({ 409: 3, 429: 3 });
    });

    it("have a limit of their own when they come from a token", async () => {
      const ip = address();
      let { refreshToken } = await account();
      const refresh = async (): Promise<Answer> => {
        const answer = await app.anonymous.post("/api/v1/auth/refresh", { refreshToken }, from(ip));
        if (answer.status === 200) refreshToken = answer.body.refreshToken;
        return answer;
      };
      const answers = await times(4, refresh);
      expect(statuses(answers)).to.deep.equal({ 200: 3, 429: 1 });
      expectLimited(answers[3]!, "refresh");
    });

    it("are as few with the password of a session that somebody has got hold of", async () => {
      const { client } = await account();
      const change = (n: number): Promise<Answer> =>
        client.post("/api/v1/auth/password", {
          currentPassword: `wrong password ${n}`,
          newPassword: "a password of the thief",
        });
      const answers = await times(4, change);
      expect(answers.map(({ status }) => status)).to.deep.equal([403, 403, 403, 429]);
      expectLimited(answers[3]!, "login-device");
    });
  });

  it("is limited without Redis, too, and nothing fails for it", async () => {
    const proxy = await startTcpProxy(testStack().redisUrl);
    const env = { ...LIMITS, TRUSTED_PROXIES: "loopback", REDIS_URL: proxy.through(testStack().redisUrl) };
    const poor = await startTestApp({ env });
    try {
      const before = await account(poor);
      expect(statuses(await times(3, () => before.client.get(ME)))).to.deep.equal({ 200: 3 });
      await proxy.refuse();
      expect(statuses(await times(7, () => before.client.get(ME)))).to.deep.equal({ 200: 2, 429: 5 });
      const { client, login, password } = await account(poor);
      const ip = address();
      for (let n = 0; n < 4; n += 1) expectStatus(200, await logIn(login, password, ip, poor));
      expect(statuses(await atOnce(20, () => client.get(ME)))).to.deep.equal({ 200: 5, 429: 15 });
      const guesses = await atOnce(10, (n) => logIn(login, `wrong password ${n}`, ip, poor));
      expect(statuses(guesses)).to.deep.equal({ 401: 1, 429: 9 });
    } finally {
      await poor.close();
      await proxy.close();
    }
  });

  it("is no matter with RATE_LIMIT=off", async () => {
    const open = await startTestApp({ beside: app, env: { ...LIMITS, RATE_LIMIT: "off" } });
    try {
      const { client } = await account(open);
      const answers = await times(8, () => client.get(ME));
      expect(statuses(answers)).to.deep.equal({ 200: 8 });
      expect(answers[0]?.headers.get("ratelimit")).to.equal(null);
    } finally {
      await open.close();
    }
  });
});
