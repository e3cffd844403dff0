import { request } from "node:http";
import { gzipSync } from "node:zlib";
import Router from "@koa/router";
import { expect } from "chai";
import Joi from "joi";
import Koa from "koa";
import type { App } from "../../api/app.js";
import { serve } from "../../api/httpServer.js";
import { jsonBody } from "../../api/middleware/body.js";
import { endpoint, mount, streamBody } from "../../api/middleware/endpoint.js";
import { errorHandler } from "../../api/middleware/errorHandler.js";
import { requestContext } from "../../api/middleware/requestContext.js";
import { idParam, instant, pageSize, queryFlag, text } from "../../api/schemas.js";
import type { AppRouter } from "../../api/types.js";
import { createLogger } from "../../utils/logger.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser, registration, type TestUser } from "../support/factories.js";
import { httpClient, type Answer, type Client } from "../support/http.js";
import { RawRequest } from "../support/sockets.js";

const PROBLEM_KEYS = ["type", "title", "status", "detail", "code", "requestId", "errors"];
const JSON_TYPE = { "content-type": "application/json" };

function expectProblem(answer: Answer, status: number, code?: string): void {
  expect(answer.status).to.equal(status);
  expect(answer.headers.get("content-type")).to.equal("application/problem+json");
  expect(answer.body).to.have.all.keys(PROBLEM_KEYS);
  expect(answer.body.status).to.equal(status);
  expect(answer.body.requestId).to.equal(answer.headers.get("x-request-id"));
  if (code !== undefined) {
    expect(answer.body.code).to.equal(code);
    expect(answer.body.type).to.equal(`urn:playlog:problem:${code}`);
  }
}

describe("errors of the api", () => {
  let app: TestApp;
  let user: TestUser;
  before(async () => {
    app = await startTestApp();
    user = await buildUser(app);
  });
  after(() => app.close());

  const login = (raw: string | Buffer<ArrayBuffer>, headers: Record<string, string> = JSON_TYPE) =>
    app.anonymous.post("/api/v1/auth/login", undefined, { raw, headers });

  it("have one form, also for addresses that do not exist", async () => {
    for (const path of ["/", "/api", "/api/v1/nothing", "/api/v2/users/me", "/favicon.ico", "/metrics"]) {
      expectProblem(await app.as(user).get(path), 404, "not_found");
    }
  });

  it("take a path literally: other case and a slash at the end are other addresses", async () => {
    for (const path of [
      "/api/v1/Users/me",
      "/api/v1/users/me/",
      "//api/v1/users/me",
      "/API/v1/users/me",
      "/docs/",
      "/Docs",
    ]) {
      expectProblem(await app.as(user).get(path), 404);
    }
  });

  it("name the methods an address does answer to", async () => {
    const wrong = await app.as(user).delete("/health");
    expectProblem(wrong, 405, "method_not_allowed");
    expect(wrong.headers.get("allow")?.split(", ")).to.have.members(["GET", "HEAD", "OPTIONS"]);
    expectProblem(await app.anonymous.get("/api/v1/auth/login"), 405);
    const asked = await app.anonymous.request("OPTIONS", "/api/v1/auth/login");
    expect([asked.status, asked.headers.get("allow")]).to.deep.equal([204, "POST, OPTIONS"]);
  });

  it("carry a request id: the caller's own when it is harmless, a new one otherwise", async () => {
    const ask = async (id: string) =>
      (await app.anonymous.get("/health", { headers: { "x-request-id": id } })).headers.get("x-request-id");
    expect(await ask("trace-1.A_b")).to.equal("trace-1.A_b");
    for (const id of ["a b", "<script>", "x".repeat(65), ""]) {
      expect(await ask(id)).to.match(/^[0-9a-f-]{36}$/);
    }
  });

  it("come with headers that keep browsers from guessing", async () => {
    const answer = await app.anonymous.get("/nothing");
    expect(answer.headers.get("x-content-type-options")).to.equal("nosniff");
    expect(answer.headers.get("referrer-policy")).to.equal("no-referrer");
    expect(answer.headers.get("cache-control")).to.equal("no-store");
  });

  const bodies: readonly (readonly [what: string, body: string, code: string])[] = [
    ["cut JSON", '{"a":', "malformed_json"],
    ["a number", "1", "malformed_json"],
    ["null", "null", "malformed_json"],
    ["an array", "[]", "validation"],
    ["nothing", "", "validation"],
    ["an empty object", "{}", "validation"],
    ["a hundred thousand brackets", "[".repeat(100_000) + "]".repeat(100_000), "validation"],
    ["a field called __proto__", '{"__proto__":{"role":"admin"}}', "malformed_json"],
    ["a prototype in a constructor", '{"constructor":{"prototype":{"role":"admin"}}}', "validation"],
  ];
  for (const [what, body, code] of bodies) {
    it(`refuse ${what} as a body`, async () => {
      const answer = await login(body);
      expectProblem(answer, 400, code);
      expect(JSON.stringify(answer.body)).to.not.include("[[[").and.not.include("admin");
      expect(({} as { role?: unknown }).role).to.equal(undefined);
    });
  }

  it("refuse deep nesting as the value of a field, without repeating it", async () => {
    const deep = "[".repeat(100_000) + "]".repeat(100_000);
    const answer = await login(`{"login":${deep},"password":"x"}`);
    expectProblem(answer, 400, "validation");
    expect(answer.body.errors).to.deep.equal([
      { path: "login", code: "wrong_type", message: "login must be text" },
    ]);
  });

  it("name at most a hundred problems, however many there are", async () => {
    const keys = Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`key${n}`, 1]));
    const answer = await login(JSON.stringify(keys));
    expectProblem(answer, 400, "validation");
    expect(answer.body.errors).to.have.length(100);
  });

  it("refuse bodies over the limit, before and after decompression", async () => {
    expectProblem(await login(`{"login":"${"x".repeat(256 * 1024)}"}`), 413, "too_large");
    const bomb = gzipSync(Buffer.alloc(50 * 1024 * 1024, " "));
    expectProblem(await login(bomb, { ...JSON_TYPE, "content-encoding": "gzip" }), 413, "too_large");
  });

  it("take a compressed body, and refuse a damaged one and unknown encodings", async () => {
    const body = gzipSync(JSON.stringify({ login: user.email, password: user.password }));
    const packed = { ...JSON_TYPE, "content-encoding": "gzip" };
    expect((await login(body, packed)).status).to.equal(200);
    expectProblem(await login("this is not gzip", packed), 400, "malformed_json");
    expectProblem(await login(body.subarray(0, 20), packed), 400, "malformed_json");
    expectProblem(await login("{}", { ...JSON_TYPE, "content-encoding": "foo" }), 415);
  });

  it("refuse bodies that are not JSON in UTF-8", async () => {
    for (const type of [
      "text/plain",
      "application/json; charset=utf-16le",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "application/jsonx",
      "application/xml",
      "nonsense",
    ]) {
      expectProblem(await login("{}", { "content-type": type }), 415, "unsupported_media_type");
    }
    // fetch adds a type of its own to text, but not to bytes
    expectProblem(await login(Buffer.from("{}"), {}), 415, "unsupported_media_type");
    expectProblem(
      await login("{}", { "content-type": "application/json; charset=UTF-8" }),
      400,
      "validation",
    );
  });

  it("let an endpoint without a body get none", async () => {
    const logout = (json: unknown) => app.as(user).post("/api/v1/auth/logout", json);
    const answer = await logout({ all: true });
    expectProblem(answer, 400, "validation");
    expect(answer.body.errors[0]).to.include({ path: "all", code: "unknown_field" });
    expect((await logout({})).status).to.equal(204);
    user = await buildUser(app);
  });

  it("refuse query parameters that nobody reads", async () => {
    const answer = await app.as(user).get("/api/v1/users/me?fields=email");
    expectProblem(answer, 400, "validation");
    expect(answer.body.errors[0]).to.include({ path: "fields", code: "unknown_field" });
  });

  it("answer 404 for ids that cannot be, without asking the database", async () => {
    const counts = { taken: 0 };
    const count = (): void => void (counts.taken += 1);
    const { pool, knex } = app.deps.database;
    expect((await app.as(user).get("/api/v1/users/me")).status).to.equal(200); // the session is in Redis now
    pool.on("acquire", count);
    knex.on("query", count);
    try {
      for (const id of [
        "abc",
        "-1",
        "1e3",
        "0x1",
        "9223372036854775808",
        "9".repeat(300),
        "%00",
        "1%2F2",
        "%E0%A4%A",
        "{}",
      ]) {
        for (const path of ["/api/v1/users/", "/api/v1/listening-history/", "/api/v1/imports/"]) {
          expectProblem(await app.as(user).get(`${path}${id}`), 404, "not_found");
        }
      }
      expect(counts.taken).to.equal(0);
    } finally {
      pool.off("acquire", count);
      knex.off("query", count);
    }
  });

  it("answer what is no HTTP, and too much of it, in the same form", async () => {
    const send = async (text: string) => {
      const raw = new RawRequest(app.port);
      await raw.write(text);
      return raw.answer();
    };
    const cases: readonly (readonly [string, number, string])[] = [
      ["nonsense\r\n\r\n", 400, "bad_request"],
      ["GET /health HTTP/1.1\nHost: x\n\n", 400, "bad_request"],
      [
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        400,
        "bad_request",
      ],
      [`GET /health HTTP/1.1\r\nHost: x\r\nX-Large: ${"a".repeat(20_000)}\r\n\r\n`, 431, "headers_too_large"],
    ];
    for (const [text, status, code] of cases) {
      const answer = await send(text);
      expect(answer.status).to.equal(status);
      expect(answer.head).to.match(/application\/problem\+json/);
      expect(answer.head).to.match(/^X-Request-Id: [0-9a-f-]{36}$/m);
      expect(JSON.parse(answer.body)).to.include({ status, code });
    }
  });

  it("survive a client that goes away in the middle of its body", async () => {
    const raw = new RawRequest(app.port);
    await raw.head("POST", "/api/v1/auth/login", {
      "Content-Type": "application/json",
      "Content-Length": 100,
    });
    await raw.write('{"login":');
    raw.destroy();
    await raw.closed;
    expect((await app.anonymous.get("/health")).status).to.equal(200);
    expect(app.logs()).to.not.include("request failed");
  });

  it("say that every connection is in use, within the time to wait for one", async () => {
    const { pool } = app.deps.database;
    const taken = await Promise.all(
      Array.from({ length: app.config.database.poolMax }, () => pool.connect()),
    );
    try {
      const started = performance.now();
      const answer = await app.as(user).get("/api/v1/listening-history");
      expectProblem(answer, 503, "busy");
      expect(Number(answer.headers.get("retry-after"))).to.be.at.least(1);
      expect(performance.now() - started).to.be.below(2500);
    } finally {
      for (const client of taken) client.release();
    }
    expect((await app.as(user).get("/api/v1/listening-history")).status).to.equal(200);
  });

  it("tell nobody what went wrong inside", async () => {
    const fields = registration();
    await app.deps.database.pool.query(
      "alter table users add constraint test_refuses check (username <> 'trap_user')",
    );
    const answer = await app.anonymous.post("/api/v1/auth/register", { ...fields, username: "trap_user" });
    expectProblem(answer, 500, "internal");
    expect(JSON.stringify(answer.body)).to.not.match(/test_refuses|insert|users/);
    expect(app.logs()).to.include("test_refuses").and.not.include(fields.email);
  });
});

describe("an endpoint", () => {
  interface Sample {
    name: string;
    at?: Date;
  }
  const sample = endpoint({
    method: "post",
    path: "/samples/:id",
    operationId: "sample",
    summary: "For this test",
    tags: ["test"],
    auth: "none",
    params: Joi.object<{ id: number }, true>({ id: idParam().required() }),
    query: Joi.object<{ limit: number; flag?: boolean }, true>({ limit: pageSize(), flag: queryFlag() }),
    body: Joi.object<Sample, true>({ name: text(10).required(), at: instant() }),
    responses: { 200: { description: "What the handler got" } },
  });
  const upload = endpoint({
    method: "post",
    path: "/uploads",
    operationId: "upload",
    summary: "For this test",
    tags: ["test"],
    auth: "none",
    body: streamBody({ "*/*": { type: "string", format: "binary" } }),
    responses: { 200: { description: "Bytes counted" } },
  });
  const order: string[] = [];
  let close: () => Promise<unknown>;
  let client: Client;
  let port: number;

  before(async () => {
    const router: AppRouter = new Router();
    mount(
      router,
      sample,
      async (_ctx, next) => {
        order.push("middleware");
        await next();
      },
      (ctx, { params, query, body, caller }) => {
        order.push("handler");
        ctx.body = { params, query, body, caller: caller ?? null, isDate: body.at instanceof Date };
      },
    );
    mount(router, upload, async (ctx) => {
      let bytes = 0;
      for await (const chunk of ctx.req as AsyncIterable<Buffer>) bytes += chunk.length;
      ctx.body = { bytes };
    });
    const readSlowly = jsonBody(1024, 200);
    router.post("/slow", async (ctx) => {
      ctx.body = await readSlowly(ctx);
    });
    const app: App = new Koa();
    app.use(requestContext(createLogger({ level: "error", format: "json" }, { service: "test" })));
    app.use(errorHandler);
    app.use(router.routes());
    const server = await serve(app, "127.0.0.1", 0);
    client = httpClient(server.url, null);
    port = server.port;
    close = () => server.close(1000);
  });
  beforeEach(() => order.splice(0));
  after(() => close());

  it("hands typed values to its handler, with defaults", async () => {
    const answer = await client.post("/samples/9007199254740991?flag=true", {
      name: "x",
      at: "2024-02-29T23:30:00-01:00",
    });
    expect(answer.status).to.equal(200);
    expect(answer.body).to.deep.equal({
      params: { id: 9007199254740991 },
      query: { limit: 100, flag: true },
      body: { name: "x", at: "2024-03-01T00:30:00.000Z" },
      caller: null,
      isDate: true,
    });
    expect(order).to.deep.equal(["middleware", "handler"]);
  });

  it("runs its middleware before it reads the body, and not for a path that cannot be", async () => {
    expect((await client.post("/samples/1", { name: "far too long a name" })).status).to.equal(400);
    expect(order).to.deep.equal(["middleware"]);
    expect((await client.post("/samples/0", { name: "x" })).status).to.equal(404);
    expect(order).to.deep.equal(["middleware"]);
  });

  const limits = ["-1", "0", "1001", "abc", "1.5", "1e2", "", "0x10", "+5", " 5", "5&limit=6"];
  for (const limit of limits) {
    it(`refuses limit=${limit}`, async () => {
      const answer = await client.post(`/samples/1?limit=${limit}`, { name: "x" });
      expect(answer.status).to.equal(400);
      expect(answer.body.errors.map(({ path }: { path: string }) => path)).to.deep.equal(["limit"]);
    });
  }

  const times = [
    "2024-02-30T00:00:00Z",
    "2024",
    "now",
    "infinity",
    "+275760-09-13T00:00:00Z",
    "2024-01-01T00:00:00",
    "",
  ];
  for (const at of times) {
    it(`refuses "${at}" as a time`, async () => {
      const answer = await client.post("/samples/1", { name: "x", at });
      expect(answer.status).to.equal(400);
      expect(answer.body.errors).to.deep.equal([
        {
          path: "at",
          code: "bad_time",
          message: "at must be a date and time with offset, like 2024-02-29T12:00:00Z",
        },
      ]);
    });
  }

  it("converts nothing in a body", async () => {
    for (const [fields, path] of [
      [{ name: 5 }, "name"],
      [{ name: "x", at: 1e12 }, "at"],
      [{ name: "x", at: null }, "at"],
      [{ name: ["x"] }, "name"],
    ] as const) {
      const answer = await client.post("/samples/1", fields);
      expect(answer.status).to.equal(400);
      expect(answer.body.errors[0].path).to.equal(path);
    }
    expect((await client.post("/samples/1?flag=TRUE", { name: "x" })).body.errors[0].path).to.equal("flag");
  });

  it("counts text in bytes", async () => {
    expect((await client.post("/samples/1", { name: "ééééé" })).status).to.equal(200);
    expect((await client.post("/samples/1", { name: "éééééé" })).body.errors[0].code).to.equal("too_long");
  });

  it("leaves a streamed body to its handler, of any type and size", async () => {
    const raw = Buffer.alloc(3 * 1024 * 1024, "x");
    const answer = await client.post("/uploads", undefined, { raw, headers: { "content-type": "audio/x" } });
    expect(answer.body).to.deep.equal({ bytes: raw.length });
  });

  it("answers before a refused body has come, and then hangs up", async function () {
    this.timeout(10_000);
    const raw = new RawRequest(port);
    await raw.head("POST", "/samples/1", {
      "Content-Type": "application/json",
      "Content-Length": 10_000_000,
    });
    await raw.write("{");
    const answer = await raw.answer();
    expect(answer.status).to.equal(413);
  });

  it("gives a body that drips its time and no more", async () => {
    const raw = new RawRequest(port);
    await raw.head("POST", "/slow", { "Content-Type": "application/json", "Content-Length": 20 });
    const started = performance.now();
    await raw.write('{"a":');
    const answer = await raw.answer();
    expect(answer.status).to.equal(408);
    expect(JSON.parse(answer.body)).to.include({ code: "request_timeout" });
    expect(performance.now() - started).to.be.below(4000);
  });

  it("answers HEAD like GET, without a body", async () => {
    const answer = await new Promise<{ status: number; length: number }>((resolve, reject) => {
      request({ port, host: "127.0.0.1", method: "HEAD", path: "/nothing" }, (res) => {
        let length = 0;
        res.on("data", (chunk: Buffer) => (length += chunk.length));
        res.on("end", () => resolve({ status: res.statusCode ?? 0, length }));
      })
        .on("error", reject)
        .end();
    });
    expect(answer).to.deep.equal({ status: 404, length: 0 });
  });
});
