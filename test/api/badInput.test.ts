/**
 * What no client should send, sent to every endpoint that is declared: each answer is a 4xx problem, and nothing is written.
 * Endpoints join by themselves. Bodies as such, and what is no HTTP, are tried in errors.test.ts.
 */
import { gzipSync } from "node:zlib";
import { expect } from "chai";
import type Joi from "joi";
import { JSON_BODY_MAX_BYTES } from "../../api/middleware/body.js";
import type { Endpoint } from "../../api/middleware/endpoint.js";
import { endpoints } from "../../api/routes/index.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer, RequestOptions } from "../support/http.js";
import { RawRequest } from "../support/sockets.js";

const JSON_TYPE = { "content-type": "application/json" };
const nested = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);
/** Enough for whatever calls itself once a level to run out of stack. */
const DEEP = nested(10_000);
/** Requests under way at once. */
const PARALLEL = 10;

/** What Joi says of itself, as far as it is read here. */
interface Description {
  readonly type: string;
  readonly flags?: { readonly only?: boolean };
  readonly allow?: readonly unknown[];
  readonly keys?: Readonly<Record<string, Description>>;
  readonly rules?: readonly { readonly name: string; readonly args?: { readonly limit?: unknown } }[];
}

interface Field {
  readonly path: readonly string[];
  readonly is: Description;
}

/** A value in JSON, since some of them are none in JavaScript, and the code it is refused with where there is only one. */
type Bad = readonly [json: string, code?: string];

const TIMES = [
  "2024-02-30T00:00:00Z",
  "2024",
  "now",
  "infinity",
  "+275760-09-13T00:00:00Z",
  "2024-01-01T00:00:00",
  "",
];
const BAD_TEXT: readonly Bad[] = [
  ["5", "wrong_type"],
  ["[]", "wrong_type"],
  ['{"a":1}', "wrong_type"],
  [DEEP, "wrong_type"],
];
const BAD_NUMBER: readonly Bad[] = [
  ['"5"'],
  ["true"],
  ["[]"],
  ["{}"],
  ["1.5"],
  ["1e400"],
  ["-9007199254740993"],
  ['"NaN"'],
];
const BAD: Readonly<Record<string, readonly Bad[]>> = {
  text: [...BAD_TEXT, ['"a\\u0000b"', "text_nul"], ['"\\ud800"', "text_not_unicode"]],
  string: [...BAD_TEXT, ['"a\\u0000b"']],
  number: BAD_NUMBER,
  boolean: [['"true"'], ["1"], ["[]"], ["{}"], ['""']],
  array: [["{}"], ['"x"'], ["1"]],
  object: [["[]"], ['"x"'], ["1"], ['{"__proto__":{"role":"admin"}}'], ['{"surprise":1}']],
  instant: [...TIMES.map((time): Bad => [JSON.stringify(time)]), ["1700000000000"], ["true"], ["{}"]],
  uuid: [['"abc"'], ["5"], ['"{01890000-0000-7000-8000-000000000000}"'], ["[]"]],
};
const BAD_QUERY: Readonly<Record<string, readonly string[]>> = {
  integer: ["-1", "abc", "1.5", "1e2", "", "0x10", "%2B5", "%205", "99999999999999999999"],
  id: ["0", "-1", "1e3", "0x1", "9223372036854775808", "9".repeat(300), "", "%00"],
  uuid: ["abc", "", "1"],
  instant: TIMES.map(encodeURIComponent),
  flag: ["TRUE", "1", "", "yes"],
  cursor: ["x.y", "%00", "", "a".repeat(600)],
  text: ["a%00b", ""],
};

/** Whatever is not allowed for it beyond its type. */
function badFor({ type, allow = [], flags, rules = [] }: Description): readonly Bad[] {
  const limit = rules.find(({ name }) => name === "max")?.args?.limit;
  return [
    ...(BAD[type] ?? []),
    ...(allow.includes(null) ? [] : [["null"] as const]),
    ...(flags?.only === true ? [['"; drop table users"'] as const] : []),
    ...((type === "text" || type === "string") && typeof limit === "number"
      ? [[JSON.stringify("x".repeat(limit + 1))] as const]
      : []),
  ];
}

const described = (schema: Joi.Schema): Description => schema.describe() as Description;

/** Of a body, those in objects inside it too. */
const fieldsOf = ({ keys = {} }: Description, above: readonly string[] = []): Field[] =>
  Object.entries(keys).flatMap(([key, is]) => {
    const path = [...above, key];
    return [{ path, is }, ...(is.type === "object" ? fieldsOf(is, path) : [])];
  });

const wrap = (path: readonly string[], json: string): string =>
  path.reduceRight((inner, key) => `{${JSON.stringify(key)}:${inner}}`, json);

const bodyOf = ({ body }: Endpoint): Joi.ObjectSchema | undefined =>
  body !== undefined && !("stream" in body) ? body : undefined;

/** Paths with ids that name nothing, of a form that the parameter takes; or one of the words that it takes. */
function addressOf({ path, params }: Endpoint): string {
  const { keys = {} } = params === undefined ? {} : described(params);
  return path.replace(/:(\w+)/g, (_all, name: string) => {
    const word = keys[name]?.flags?.only === true ? keys[name].allow?.[0] : undefined;
    if (typeof word === "string") return word;
    return keys[name]?.type === "uuid" ? "01890000-0000-7000-8000-000000000000" : "9007199254740991";
  });
}

describe("bad input", function () {
  this.timeout(30_000);
  let app: TestApp;
  let user: TestUser;
  let earlier: unknown;

  before(async () => {
    app = await startTestApp();
    user = await buildUser(app); // the first one, who may do everything
    earlier = await everything();
  });
  after(() => app.close());

  /** Rows of all tables, and the account as it is. */
  const everything = async (): Promise<unknown> => {
    const { pool } = app.deps.database;
    const { rows: tables } = await pool.query<{ name: string }>(
      "select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1",
    );
    const counts: Record<string, unknown> = {};
    for (const { name } of tables) {
      counts[name] = (await pool.query(`select count(*)::int as n from "${name}"`)).rows[0];
    }
    return { counts, users: (await pool.query("select * from users")).rows };
  };
  const ask = (endpoint: Endpoint, address: string, options: RequestOptions = {}): Promise<Answer> => {
    const client = endpoint.auth === "user" ? app.as(user) : app.anonymous;
    return client.request(endpoint.method.toUpperCase(), address, undefined, options);
  };
  const expectRefused = (answer: Answer, statuses: readonly number[], what: string): void => {
    expect(answer.status, what).to.be.oneOf(statuses);
    expect(answer.headers.get("content-type"), what).to.match(/^application\/problem\+json/);
    expect(JSON.stringify(answer.body), what).to.not.match(/\[\[\[|drop table|xxxxxxxxxx/);
  };
  const each = async <T>(cases: readonly T[], run: (one: T) => Promise<void>): Promise<void> => {
    for (let at = 0; at < cases.length; at += PARALLEL) {
      await Promise.all(cases.slice(at, at + PARALLEL).map(run));
    }
  };

  const writing = endpoints.filter(({ method, body }) => method !== "get" && !("stream" in (body ?? {})));
  const reading = endpoints.filter(
    ({ query }) => query !== undefined && Object.keys(described(query).keys ?? {}).length > 0,
  );
  const naming = endpoints.filter(({ path }) => /^\/api\/v1\/.*:/.test(path));

  it("is tried on more than a few endpoints", () => {
    expect(writing.length).to.be.above(15);
    expect(naming.length).to.be.above(10);
    expect(reading.length).to.be.above(2);
  });

  /** The same body at two addresses is tried in its fields once. */
  const tried = new Set<Joi.Schema>();
  for (const endpoint of writing) {
    const { method, path, bodyMaxBytes = JSON_BODY_MAX_BYTES } = endpoint;
    const address = addressOf(endpoint);

    it(`is refused as the body of ${method} ${path}`, async () => {
      const bodies: readonly (readonly [
        body: Buffer | string,
        statuses: readonly number[],
        headers?: object,
      ])[] = [
        ['{"a":', [400]],
        ["1", [400]],
        ["null", [400]],
        ["[]", [400]],
        [`{"surprise":${nested(100_000)}}`, [400]],
        ['{"surprise":1,"surprise":2}', [400]],
        ['{"__proto__":{"role":"admin"}}', [400]],
        ['{"constructor":{"prototype":{"role":"admin"}}}', [400]],
        [Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), [400]],
        [`{"surprise":"${"x".repeat(bodyMaxBytes)}"}`, [413]],
        ["no gzip", [400], { "content-encoding": "gzip" }],
        [gzipSync("{}").subarray(0, 15), [400], { "content-encoding": "gzip" }],
        [Buffer.from("{}"), [415], { "content-type": "" }],
        ["{}", [415], { "content-type": "text/plain" }],
        ["{}", [415], { "content-type": "application/json; charset=utf-16le" }],
      ];
      await each(bodies, async ([raw, statuses, headers]) => {
        const answer = await ask(endpoint, address, { raw, headers: { ...JSON_TYPE, ...headers } });
        expectRefused(answer, statuses, String(raw).slice(0, 40));
      });
      expect(({} as { role?: unknown }).role).to.equal(undefined);
    });

    const schema = bodyOf(endpoint);
    const fields = schema === undefined || tried.has(schema) ? [] : fieldsOf(described(schema));
    if (schema === undefined || fields.length === 0) continue;
    tried.add(schema);
    it(`is refused in each field of ${method} ${path}, which is named`, async () => {
      const cases = fields.flatMap(({ path: at, is }) => badFor(is).map((bad) => ({ at, bad })));
      await each(cases, async ({ at, bad: [json, code] }) => {
        const what = `${at.join(".")}: ${json.slice(0, 40)}`;
        const answer = await ask(endpoint, address, { raw: wrap(at, json), headers: JSON_TYPE });
        expectRefused(answer, [400], what);
        const errors = answer.body.errors as { path: string; code: string }[];
        const own = errors.filter(({ path: named }) => `${named}.`.startsWith(`${at.join(".")}.`));
        if (json.includes("__proto__")) return; // the parser refuses the whole
        expect(own, what).to.not.deep.equal([]);
        if (code !== undefined)
          expect(
            own.map((error) => error.code),
            what,
          ).to.include(code);
      });
    });
  }

  for (const endpoint of reading) {
    const { method, path, query } = endpoint;
    it(`is refused in the query of ${method} ${path}, and named`, async () => {
      const address = addressOf(endpoint);
      const { keys = {} } = described(query!);
      const cases = Object.entries(keys).flatMap(([name, { type, flags }]) => [
        ...(BAD_QUERY[type] ?? []).map((value) => [name, `${name}=${value}`] as const),
        ...(flags?.only === true
          ? [[name, `${name}=password_hash`] as const, [name, `${name}=id;drop`] as const]
          : []),
        [name, `${name}=1&${name}=2`] as const,
      ]);
      await each(cases, async ([name, text]) => {
        const answer = await ask(endpoint, `${address}?${text}`);
        expectRefused(answer, [400], text.slice(0, 60));
        expect(
          (answer.body.errors as { path: string }[]).map((error) => error.path.split(".")[0]),
          text.slice(0, 60),
        ).to.include(name);
      });
    });
  }

  it("is no address where an id should be", async () => {
    const ids = [
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
    ];
    const cases = naming.flatMap((endpoint) => ids.map((id) => ({ endpoint, id })));
    await each(cases, async ({ endpoint, id }) => {
      const { keys = {} } = described(endpoint.params!);
      const [first = ""] = Object.keys(keys);
      if (!["id", "uuid"].includes(keys[first]?.type ?? "")) return; // a word, which has cases of its own
      const address = endpoint.path.replaceAll(/:\w+/g, id);
      const options = endpoint.method === "get" ? {} : { raw: "{}", headers: JSON_TYPE };
      expectRefused(
        await ask(endpoint, address, options),
        [404],
        `${endpoint.method} ${address.slice(0, 80)}`,
      );
    });
  });

  it("is refused where there is too much of it", async () => {
    for (const head of [`GET /api/v1/users/me?x=${"y".repeat(20_000)}`, "GET /api/v1/users/me"]) {
      const raw = new RawRequest(app.port);
      const filler = head.length < 100 ? `X-Large: ${"z".repeat(20_000)}\r\n` : "";
      await raw.write(`${head} HTTP/1.1\r\nHost: x\r\n${filler}\r\n`);
      const { status, body } = await raw.answer();
      expect(status).to.equal(431);
      expect(JSON.parse(body)).to.include({ status: 431, code: "headers_too_large" });
      raw.destroy();
    }
    const many = Array.from({ length: 1500 }, (_, n) => `a${n}=1`).join("&");
    const answer = await app.as(user).get(`/api/v1/users/me?${many}`);
    expectRefused(answer, [400], "many parameters");
    expect(answer.body.errors).to.have.length(100);
  });

  it("has written nothing, ended no session, and hurt no one", async () => {
    expect(await everything()).to.deep.equal(earlier);
    expect((await app.as(user).get("/api/v1/users/me")).status).to.equal(200);
    expect(app.logs()).to.not.include('"level":"error"');
  });
});
