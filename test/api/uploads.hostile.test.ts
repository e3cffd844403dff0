import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { formBody, type FormPart, formType } from "../support/multipart.js";
import { type RawAnswer, RawRequest } from "../support/sockets.js";

const PATH = "/api/v1/imports";
const MAX_BYTES = 1024 ** 2;
const RSS_GROWTH_BYTES = 64 * 1024 ** 2;
const FILE = { name: "file", filename: "a.json", type: "application/json" } as const;
const PNG = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");

/** Everything goes over a socket of its own, as it is; after each there is no row, no file and no server error. */
describe("hostile uploads", () => {
  let app: TestApp;
  let user: TestUser;
  let rssBefore: number;

  before(async () => {
    app = await startTestApp({ env: { UPLOAD_MAX_BYTES: String(MAX_BYTES) } });
    user = await buildUser(app);
  });
  beforeEach(() => {
    rssBefore = process.memoryUsage().rss;
  });
  afterEach(async () => {
    const spool = (): Promise<string[]> => readdir(app.config.spoolDir).catch(() => []);
    for (let tries = 0; tries < 500 && (await spool()).length > 0; tries += 1) await sleep(10);
    expect(await spool(), "left in the spool").to.deep.equal([]);
    expect((await app.as(user).get(PATH)).body.data, "imports").to.deep.equal([]);
    expect(process.memoryUsage().rss - rssBefore, "memory").to.be.below(RSS_GROWTH_BYTES);
    expect(app.logs()).to.not.match(/"status":5\d\d|request failed|uncaught/);
  });
  after(() => app.close());

  const begin = async (
    headers: Readonly<Record<string, string | number>>,
    query = "",
  ): Promise<RawRequest> => {
    const request = new RawRequest(app.port);
    await request.head("POST", `${PATH}${query}`, {
      Authorization: `Bearer ${user.accessToken}`,
      ...headers,
    });
    return request;
  };
  /** Sends the body until the server has said what it thinks. */
  const send = async (
    body: Buffer,
    type: string,
    { isChunked = false, query = "" } = {},
  ): Promise<RawAnswer> => {
    const length = isChunked ? { "Transfer-Encoding": "chunked" } : { "Content-Length": body.length };
    const request = await begin({ "Content-Type": type, ...length }, query);
    for (let at = 0; at < body.length && !request.answered; at += 65_536) {
      const piece = body.subarray(at, at + 65_536);
      await (isChunked ? request.chunk(piece) : request.write(piece));
    }
    if (isChunked && !request.answered) await request.chunk(Buffer.alloc(0));
    const answer = await request.answer();
    request.destroy();
    return answer;
  };
  const form = (parts: readonly FormPart[], options?: { end: boolean }): Buffer => formBody(parts, options);
  const codeOf = (answer: RawAnswer): string => (JSON.parse(answer.body) as { code: string }).code;

  for (const [what, expected, body, type] of [
    ["nothing", "400 empty_file", Buffer.alloc(0), "application/zip"],
    ["an empty file in a form", "400 empty_file", form([{ ...FILE, body: "" }]), formType],
    ["a picture called an archive", "415 unsupported_media_type", PNG, "application/zip"],
    [
      "a picture called an archive, in a form",
      "415 unsupported_media_type",
      form([{ ...FILE, filename: "my_data.zip", type: "application/zip", body: PNG }]),
      formType,
    ],
    ["random bytes", "415 unsupported_media_type", randomBytes(100_000), "application/json"],
    ["more than allowed", "413 too_large", Buffer.alloc(MAX_BYTES + 1, "1"), "application/json"],
    [
      "more than allowed, in a form",
      "413 too_large",
      form([{ ...FILE, body: Buffer.alloc(MAX_BYTES + 1, "1") }]),
      formType,
    ],
    [
      "fifty files",
      "413 too_many_files",
      form(Array.from({ length: 50 }, (_, n) => ({ ...FILE, filename: `${n}.json`, body: "[]" }))),
      formType,
    ],
    [
      "fifty files under fifty names",
      "400 validation",
      form(Array.from({ length: 50 }, (_, n) => ({ ...FILE, name: `file${n}`, body: "[]" }))),
      formType,
    ],
    [
      "a picture without a type, in a form",
      "415 unsupported_media_type",
      form([{ name: "file", filename: "a.json", body: PNG }]),
      formType,
    ],
    [
      "more than allowed in a file without a type",
      "413 too_large",
      form([{ name: "file", filename: "a.json", body: Buffer.alloc(MAX_BYTES + 1, "1") }]),
      formType,
    ],
    [
      "a large file under another name, without a type",
      "400 validation",
      form([{ name: "other", filename: "a.json", body: Buffer.alloc(MAX_BYTES, "1") }]),
      formType,
    ],
    [
      "a field called __proto__",
      "400 validation",
      form([
        { name: "__proto__", body: '{"role":"admin"}' },
        { ...FILE, body: "[]" },
      ]),
      formType,
    ],
    [
      "a field called constructor",
      "400 validation",
      form([
        { ...FILE, body: "[]" },
        { name: "constructor", body: "x" },
      ]),
      formType,
    ],
    [
      "a part with a header of 30 MB",
      "413 too_large",
      form([{ ...FILE, headers: [`X-Long: ${"x".repeat(30 * 1024 ** 2)}`], body: "[]" }]),
      formType,
    ],
    [
      "a form without a boundary",
      "400 malformed_form",
      form([{ ...FILE, body: "[]" }]),
      "multipart/form-data",
    ],
    [
      "a form with another boundary",
      "400 malformed_form",
      form([{ ...FILE, body: "[]" }]),
      "multipart/form-data; boundary=other",
    ],
    [
      "a form that is cut short",
      "400 malformed_form",
      form([{ ...FILE, body: "[]" }], { end: false }),
      formType,
    ],
    [
      "a form that is cut in the head of its file",
      "400 malformed_form",
      form([{ ...FILE, body: "[]" }]).subarray(0, 60),
      formType,
    ],
    [
      "a form with a file of no name",
      "400 validation",
      form([{ name: "", filename: "x", body: "[]" }]),
      formType,
    ],
    ["no file", "400 validation", form([{ name: "source", body: "spotify" }]), formType],
  ] as const) {
    for (const isChunked of [false, true]) {
      it(`answers ${expected} to ${what}${isChunked ? ", in chunks" : ""}`, async () => {
        const answer = await send(body, type, { isChunked });
        expect(`${answer.status} ${codeOf(answer)}`).to.equal(expected);
        expect(({} as { role?: string }).role).to.equal(undefined);
      });
    }
  }

  it("answers before the body when its announced length is more than allowed", async () => {
    for (const type of ["application/zip", formType]) {
      const request = await begin({ "Content-Type": type, "Content-Length": 10 * MAX_BYTES });
      const answer = await request.answer();
      expect(`${answer.status} ${codeOf(answer)}`).to.equal("413 too_large");
      request.destroy();
    }
  });

  it("answers and closes the connection when a body that never ends crosses the limit", async () => {
    for (const type of ["application/json", formType]) {
      const request = await begin({ "Content-Type": type, "Transfer-Encoding": "chunked" });
      if (type === formType) await request.chunk(form([{ ...FILE, body: "[" }], { end: false }));
      let over = false;
      void request.closed.then(() => (over = true));
      for (let sent = 0; sent < 2000 && !over; sent += 1) await request.chunk(Buffer.alloc(65_536, "1"));
      const answer = await request.answer();
      expect(`${answer.status} ${codeOf(answer)}`).to.equal("413 too_large");
      await request.closed;
    }
  });

  it("makes nothing of a body that is shorter than announced, however the client goes", async () => {
    for (const type of ["application/json", formType]) {
      for (const leave of ["end", "destroy"] as const) {
        const request = await begin({ "Content-Type": type, "Content-Length": 500_000 });
        await request.write(form([{ ...FILE, body: "[".padEnd(200_000) }], { end: false }));
        for (let tries = 0; tries < 500 && (await readdir(app.config.spoolDir)).length === 0; tries += 1) {
          await sleep(10);
        }
        request[leave]();
        await request.closed;
        for (let tries = 0; tries < 500 && (await readdir(app.config.spoolDir)).length > 0; tries += 1) {
          await sleep(10);
        }
        expect(await readdir(app.config.spoolDir), `${type}, ${leave}`).to.deep.equal([]);
      }
    }
  });

  it("answers 400 to a form wherever it is cut off", async () => {
    const good = form([
      { name: "source", body: "spotify" },
      { ...FILE, body: "[]" },
    ]);
    for (let n = 0; n < 100; n += 1) {
      const cut = Buffer.from(good.subarray(0, Math.floor((good.length * n) / 100)));
      const answer = await send(cut, formType, { isChunked: n % 2 === 0 });
      expect(answer.status, `cut at ${cut.length}`).to.equal(400);
    }
  });
});
