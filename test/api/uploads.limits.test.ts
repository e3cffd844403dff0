import { randomUUID } from "node:crypto";
import { readdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { formBody, type FormPart, formType } from "../support/multipart.js";
import { RawRequest } from "../support/sockets.js";

const PATH = "/api/v1/imports";
const JSON_TYPE = { "content-type": "application/json" };
const PER_DAY = 7;
const SPOOL_BYTES = 100_000;
const FLOOR = 1000;

/** The task queue of this app has no worker: what is accepted stays queued, and its upload is kept. */
describe("limits of uploads", () => {
  let app: TestApp;
  let user: TestUser;
  let earlier: ReadonlySet<string>;

  before(async () => {
    app = await startTestApp({
      env: {
        UPLOADS_AT_ONCE: "3",
        UPLOADS_PER_DAY: String(PER_DAY),
        USER_SPOOL_MAX_BYTES: String(SPOOL_BYTES),
        UPLOAD_MIN_BYTES_PER_SECOND: String(FLOOR),
      },
    });
  });
  beforeEach(async () => {
    user = await buildUser(app);
    earlier = new Set(await spool());
  });
  after(() => app.close());

  const spool = (): Promise<string[]> => readdir(app.config.spoolDir).catch(() => []);
  const newFiles = async (): Promise<string[]> => (await spool()).filter((name) => !earlier.has(name));
  const jobs = async (): Promise<number> => (await app.as(user).get(PATH)).body.data.length as number;
  const settled = async (): Promise<string[]> => {
    for (let tries = 0; tries < 200; tries += 1) {
      const files = await newFiles();
      if (!files.some((name) => name.endsWith(".partial"))) return files;
      await sleep(10);
    }
    return newFiles();
  };
  /** JSON of exactly this many bytes, each time another. */
  const content = (bytes = 40): string => JSON.stringify([randomUUID()]).padEnd(bytes);
  const send = (body: string, at = app): Promise<Answer> =>
    at.as(user).post(PATH, undefined, { raw: body, headers: JSON_TYPE });
  const sql = (statement: string): Promise<unknown> =>
    app.deps.database.pool.query(statement.replaceAll("$user", `'${user.id}'`));
  const begin = async (headers: Readonly<Record<string, string | number>>, at = app): Promise<RawRequest> => {
    const request = new RawRequest(at.port);
    await request.head("POST", PATH, {
      Authorization: `Bearer ${user.accessToken}`,
      "Content-Type": "application/json",
      ...headers,
    });
    return request;
  };
  const chunked = { "Transfer-Encoding": "chunked" };
  const codeOf = ({ body }: { readonly body: string }): unknown =>
    (JSON.parse(body) as { code: string }).code;
  const retryAfter = (answer: Answer): number => Number(answer.headers.get("retry-after"));

  it("lets each user upload as many files at once as the setting says", async () => {
    const requests = await Promise.all([1, 2, 3].map(() => begin(chunked)));
    for (const request of requests) await request.chunk(Buffer.from("["));
    for (let tries = 0; tries < 200 && (await newFiles()).length < 3; tries += 1) await sleep(10);
    expect(expectStatus(429, await send(content())).body.code).to.equal("too_many_uploads");
    for (const request of requests) {
      await request.chunk(Buffer.from("]"));
      await request.chunk(Buffer.alloc(0));
      expect((await request.answer()).status).to.be.oneOf([200, 202]);
      request.destroy();
    }
    expectStatus(202, await send(content()));
  });

  describe("in a day", () => {
    it("count the imports of the last 24 hours, and say when there is room again", async () => {
      for (let n = 0; n < PER_DAY; n += 1) expectStatus(202, await send(content()));
      await sql(`update import_jobs set created_at = created_at - interval '20 hours' where user_id = $user`);
      const refused = expectStatus(429, await send(content()));
      expect(refused.body.code).to.equal("too_many_uploads");
      expect(retryAfter(refused)).to.be.within(4 * 3600 - 60, 4 * 3600);
      expect((await newFiles()).length).to.equal(PER_DAY);

      const mine = user;
      user = await buildUser(app);
      expectStatus(202, await send(content()));
      user = mine;

      await sql(
        `update import_jobs set created_at = created_at - interval '4 hours' where id =
           (select id from import_jobs where user_id = $user order by created_at limit 1)`,
      );
      expectStatus(202, await send(content()));
      expectStatus(429, await send(content()));
    });

    it("are looked at before the body", async () => {
      for (let n = 0; n < PER_DAY; n += 1) expectStatus(202, await send(content()));
      const request = await begin({ "Content-Length": 50_000 });
      const answer = await request.answer();
      expect([answer.status, codeOf(answer)]).to.deep.equal([429, "too_many_uploads"]);
      request.destroy();
    });

    it("are as many as allowed of a hundred uploads sent at once, and the others are refused", async function () {
      this.timeout(60_000);
      const wide = await startTestApp({
        beside: app,
        env: { UPLOADS_AT_ONCE: "100", UPLOADS_PER_DAY: String(PER_DAY) },
      });
      try {
        const answers = await Promise.all(Array.from({ length: 100 }, () => send(content(), wide)));
        const statuses = answers.map(({ status }) => status);
        expect(statuses.filter((status) => status === 202)).to.have.length(PER_DAY);
        expect(new Set(statuses)).to.deep.equal(new Set([202, 429]));
        for (const answer of answers.filter(({ status }) => status === 429)) {
          expect(answer.body.code).to.equal("too_many_uploads");
          expect(retryAfter(answer)).to.be.greaterThan(0);
        }
        expect([await jobs(), (await settled()).length]).to.deep.equal([PER_DAY, PER_DAY]);
      } finally {
        await wide.close();
      }
    });
  });

  describe("in bytes that are kept", () => {
    it("refuse an announced body before it is read, take one that fits, and forget what is deleted", async () => {
      for (let n = 0; n < 2; n += 1) expectStatus(202, await send(content(45_000)));
      const request = await begin({ "Content-Length": 10_001 });
      const answer = await request.answer();
      expect([answer.status, codeOf(answer)]).to.deep.equal([429, "upload_quota"]);
      expect(answer.head).to.match(/^retry-after: \d+$/im);
      request.destroy();
      expectStatus(202, await send(content(10_000)));
      expectStatus(429, await send(content()));
      expect((await settled()).length).to.equal(3);
      await sql("update import_jobs set blob_key = null where user_id = $user and size_bytes = 45000");
      expectStatus(202, await send(content(90_000)));
    });

    it("say when the first of the kept uploads goes", async () => {
      expectStatus(202, await send(content(SPOOL_BYTES)));
      await sql(
        `update import_jobs set status = 'completed', blob_delete_after = now() + interval '3 days' where user_id = $user`,
      );
      const refused = expectStatus(429, await send(content()));
      expect(refused.body.code).to.equal("upload_quota");
      expect(retryAfter(refused)).to.be.within(3 * 86_400 - 60, 3 * 86_400);
    });

    it("stop a body of unknown length when it passes them, and leave nothing of it", async () => {
      expectStatus(202, await send(content(50_000)));
      const form: FormPart = { name: "file", filename: "a.json", type: "application/json", body: "[" };
      for (const [headers, first] of [
        [chunked, Buffer.from("[")],
        [{ ...chunked, "Content-Type": formType }, formBody([form], { end: false }).subarray(0, -2)],
      ] as const) {
        const request = await begin(headers);
        await request.chunk(first);
        for (let sent = 0; sent < 100 && !request.answered; sent += 1)
          await request.chunk(Buffer.alloc(10_000, "1"));
        const answer = await request.answer();
        expect([answer.status, codeOf(answer)]).to.deep.equal([429, "upload_quota"]);
        request.destroy();
        expect((await settled()).length, "kept").to.equal(1);
      }
      expect(await jobs()).to.equal(1);
    });

    it("count a form by its file, not by what is around it", async () => {
      expectStatus(202, await send(content(50_000)));
      const parts: FormPart[] = [
        { name: "file", filename: "a.json", type: "application/json", body: content(50_001) },
      ];
      const options = { raw: formBody(parts), headers: { "content-type": formType } };
      expect(expectStatus(429, await app.as(user).post(PATH, undefined, options)).body.code).to.equal(
        "upload_quota",
      );
      const fitting = { ...options, raw: formBody([{ ...parts[0]!, body: content(50_000) }]) };
      expectStatus(202, await app.as(user).post(PATH, undefined, fitting));
      expect((await settled()).length).to.equal(2);
    });

    it("hold for uploads that come in side by side", async () => {
      const requests = await Promise.all([begin(chunked), begin(chunked)]);
      for (let sent = 0; sent < 6; sent += 1) {
        for (const request of requests) await request.chunk(Buffer.alloc(10_000, "1"));
      }
      for (const request of requests) await request.chunk(Buffer.alloc(0));
      const answers = await Promise.all(requests.map((request) => request.answer()));
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([202, 429]);
      for (const request of requests) request.destroy();
      expect((await settled()).length).to.equal(1);
    });

    it("hold for a hundred uploads sent at once", async function () {
      this.timeout(60_000);
      const wide = await startTestApp({
        beside: app,
        env: { UPLOADS_AT_ONCE: "100", USER_SPOOL_MAX_BYTES: String(SPOOL_BYTES) },
      });
      try {
        const answers = await Promise.all(Array.from({ length: 100 }, () => send(content(9000), wide)));
        expect(new Set(answers.map(({ status }) => status))).to.deep.equal(new Set([202, 429]));
        const accepted = answers.filter(({ status }) => status === 202).length;
        expect(accepted).to.be.within(1, Math.floor(SPOOL_BYTES / 9000));
        expect((await settled()).length).to.equal(accepted);
      } finally {
        await wide.close();
      }
    });

    it("do not stand in the way of an upload that is refused for its own size", async () => {
      const small = await startTestApp({
        beside: app,
        env: { UPLOAD_MAX_BYTES: "1000", USER_SPOOL_MAX_BYTES: "500" },
      });
      try {
        expect(expectStatus(413, await send(content(1001), small)).body.code).to.equal("too_large");
        expect(expectStatus(429, await send(content(501), small)).body.code).to.equal("upload_quota");
      } finally {
        await small.close();
      }
    });
  });

  it("in speed: give up on what stands still, drips or comes byte by byte, not on what is slow and steady", async function () {
    this.timeout(60_000);
    const patient = await startTestApp({ beside: app, env: { UPLOAD_MIN_BYTES_PER_SECOND: "0" } });
    const other = await buildUser(app);
    try {
      const form: FormPart = { name: "file", filename: "a.json", type: "application/json", body: "[" };
      const still = await begin({ "Content-Length": 50_000 });
      const bytewise = await begin(chunked);
      const dripping = await begin({ ...chunked, "Content-Type": formType });
      await dripping.chunk(formBody([form], { end: false }));
      const mine = user;
      user = other;
      const steady = await begin(chunked);
      const allowed = await begin(chunked, patient);
      user = mine;

      const tooSlow = [still, bytewise, dripping];
      let beats = 0;
      while (!tooSlow.every(({ answered }) => answered)) {
        if (beats % 10 === 0) {
          await bytewise.chunk(Buffer.from("1"));
          await allowed.chunk(Buffer.from("1"));
        }
        await dripping.chunk(Buffer.alloc(FLOOR / 20, "1"));
        await steady.chunk(Buffer.alloc(FLOOR / 5, "1"));
        expect([steady.answered, allowed.answered]).to.deep.equal([false, false]);
        beats += 1;
        await sleep(100);
      }
      for (const request of tooSlow) {
        const answer = await request.answer();
        expect([answer.status, codeOf(answer)]).to.deep.equal([408, "request_timeout"]);
        request.destroy();
      }
      for (const request of [steady, allowed]) {
        await request.chunk(Buffer.alloc(0));
        expect((await request.answer()).status).to.equal(202);
        request.destroy();
      }
      expect((await settled()).length).to.equal(2);
    } finally {
      await patient.close();
    }
  });
});
