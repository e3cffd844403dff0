import { createSecretKey } from "node:crypto";
import { expect } from "chai";
import jwt from "jsonwebtoken";
import { signingKeys } from "../../services/auth/signingKeys.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { until } from "../support/until.js";

const SECRET = "a signing secret that only this test file knows";
const OTHER = "another signing secret, just as long as the first";

describe("access tokens", () => {
  let app: TestApp;
  let user: TestUser;
  let good: jwt.JwtPayload;

  before(async () => {
    app = await startTestApp({ env: { JWT_SECRET: SECRET } });
    user = await buildUser(app);
    good = jwt.decode(user.accessToken) as jwt.JwtPayload;
  });
  after(() => app.close());

  interface Header {
    readonly alg?: jwt.Algorithm;
    readonly typ?: string | undefined;
  }
  const sign = (claims: object, { alg = "HS256", typ = "at+jwt" }: Header = {}, secret = SECRET): string =>
    jwt.sign({ ...good, ...claims }, createSecretKey(Buffer.from(secret)), {
      algorithm: alg,
      header: { alg, typ },
    });
  const without = (claim: string): string =>
    jwt.sign(
      Object.fromEntries(Object.entries(good).filter(([name]) => name !== claim)),
      createSecretKey(Buffer.from(SECRET)),
      { algorithm: "HS256", header: { alg: "HS256", typ: "at+jwt" }, noTimestamp: claim === "iat" },
    );
  /** For what no library would sign: the parts as given, signed by hand with HS256 where `signature` is absent. */
  const unsigned = (header: object, claims: object): string =>
    `${[header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".")}.`;
  const now = () => Math.floor(Date.now() / 1000);

  it("are short-lived JWTs that name user and session, and nothing personal", () => {
    expect(jwt.decode(user.accessToken, { complete: true })?.header).to.deep.equal({
      alg: "HS256",
      typ: "at+jwt",
    });
    expect(good).to.have.all.keys("sub", "sid", "iss", "aud", "iat", "exp");
    expect(good.sub).to.equal(user.id);
    expect((good.exp ?? 0) - (good.iat ?? 0)).to.equal(600);
  });

  it("work when they are signed here", async () => {
    const answer = await app.as({ accessToken: sign({}) }).get("/api/v1/users/me");
    expectStatus(200, answer);
  });

  it("end when it is time, also those that were good before", async () => {
    // Clocks may be 30 s apart: it has about two seconds left.
    const client = app.as({ accessToken: sign({ iat: now() - 500, exp: now() - 28 }) });
    expectStatus(200, await client.get("/api/v1/users/me"));
    await until("its end", async () => (await client.get("/api/v1/users/me")).status === 401, 4000);
  });

  it("are told apart by all of their signature", async () => {
    const token = sign({});
    expectStatus(200, await app.as({ accessToken: token }).get("/api/v1/users/me"));
    const forged = `${token.slice(0, -10)}${"A".repeat(10)}`;
    expectStatus(401, await app.as({ accessToken: forged }).get("/api/v1/users/me"));
  });

  const forgeries: Record<string, () => string> = {
    "no algorithm": () => unsigned({ alg: "none", typ: "at+jwt" }, good),
    "no algorithm, spelled otherwise": () => unsigned({ alg: "nOnE", typ: "at+jwt" }, good),
    "HS512 with the right key": () => sign({}, { alg: "HS512" }),
    "HS384 with the right key": () => sign({}, { alg: "HS384" }),
    "another key": () => sign({}, {}, OTHER),
    "an expired token": () => sign({ iat: now() - 700, exp: now() - 100 }),
    "no exp": () => without("exp"),
    "no iat": () => without("iat"),
    "an iat in the future": () => sign({ iat: now() + 300, exp: now() + 900 }),
    "a longer life than we give": () => sign({ iat: now() - 10, exp: now() + 86_400 }),
    "another audience": () => sign({ aud: "somebody-else" }),
    "no audience": () => without("aud"),
    "another issuer": () => sign({ iss: "somebody-else" }),
    "no issuer": () => without("iss"),
    "the type of a plain JWT": () => sign({}, { typ: "JWT" }),
    "no subject": () => without("sub"),
    "an object as subject": () => unsignedWithKey({ ...good, sub: { id: user.id } }),
    "a subject that is no id": () => sign({ sub: "admin" }),
    "no session": () => without("sid"),
    "a session that never was": () => sign({ sid: "01890000-0000-7000-8000-000000000000" }),
    "a session with NUL": () => sign({ sid: "\u0000" }),
    "the session of somebody else": () => sign({ sub: "01890000-0000-7000-8000-000000000000" }),
    "a changed payload": () => {
      const [head, , signature] = user.accessToken.split(".");
      const payload = Buffer.from(JSON.stringify({ ...good, exp: now() + 500 })).toString("base64url");
      return `${head}.${payload}.${signature}`;
    },
    "a cut signature": () => user.accessToken.slice(0, -4),
    "the refresh token": () => user.refreshToken,
    "no token at all": () => "",
    words: () => "three short words",
    "a very long word": () => "a".repeat(8000),
  };
  /** jsonwebtoken checks claims when it signs an object, not when it signs a string. */
  const unsignedWithKey = (claims: object): string =>
    jwt.sign(JSON.stringify(claims), createSecretKey(Buffer.from(SECRET)), {
      algorithm: "HS256",
      header: { alg: "HS256", typ: "at+jwt" },
    });

  for (const [what, forge] of Object.entries(forgeries)) {
    it(`do not work with ${what}`, async () => {
      const answer = await app.anonymous.get("/api/v1/users/me", {
        headers: { authorization: `Bearer ${forge()}`.trim() },
      });
      expect(answer.status).to.equal(401);
      expect(answer.headers.get("www-authenticate")).to.match(/^Bearer/);
      expect(answer.headers.get("content-type")).to.equal("application/problem+json");
      expect(answer.body.code).to.equal("unauthorized");
    });
  }

  it("do not work under another scheme, in a cookie or in the query", async () => {
    const token = user.accessToken;
    const attempts = [
      { headers: { authorization: `Basic ${token}` } },
      { headers: { authorization: token } },
      { headers: { cookie: `token=${token}; jwt=${token}; authorization=${token}` } },
    ];
    for (const options of attempts) {
      expect((await app.anonymous.get("/api/v1/users/me", options)).status).to.equal(401);
    }
    expect((await app.anonymous.get(`/api/v1/users/me?access_token=${token}`)).status).to.equal(401);
  });

  it("name no error in the challenge when none was sent", async () => {
    const answer = await app.anonymous.get("/api/v1/users/me");
    expect(answer.status).to.equal(401);
    expect(answer.headers.get("www-authenticate")).to.equal("Bearer");
  });

  it("do not work twice in one request", async () => {
    const { request } = await import("node:http");
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const req = request(`${app.url}/api/v1/users/me`, {
        headers: [
          "Host",
          "localhost",
          "Authorization",
          `Bearer ${user.accessToken}`,
          "Authorization",
          `Bearer ${user.accessToken}`,
        ],
      });
      req.on("response", (res) => resolve(res.resume().statusCode)).on("error", reject);
      req.end();
    });
    expect(status).to.equal(401);
  });

  it("outlive a change of the key only as long as the old key is accepted", async () => {
    const rotating = await startTestApp({ beside: app, keys: signingKeys([OTHER, SECRET]) });
    const rotated = await startTestApp({ beside: app, keys: signingKeys([OTHER]) });
    try {
      expect((await rotating.as(user).get("/api/v1/users/me")).status).to.equal(200);
      expect((await rotated.as(user).get("/api/v1/users/me")).status).to.equal(401);
      const { body } = await rotating.anonymous.post("/api/v1/auth/login", {
        login: user.email,
        password: user.password,
      });
      expect((await rotated.as(body).get("/api/v1/users/me")).status).to.equal(200);
    } finally {
      await Promise.all([rotating.close(), rotated.close()]);
    }
  });
});
