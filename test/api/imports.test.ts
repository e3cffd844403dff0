import { createHash, randomUUID } from "node:crypto";
import { expect } from "chai";
import { encodeCursor } from "../../utils/pagination.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";

const PATH = "/api/v1/imports";

/** The task queue of this app has no worker: what is accepted stays queued until a test says otherwise. */
describe("imports over HTTP", () => {
  let app: TestApp;
  let user: TestUser;

  before(async () => {
    app = await startTestApp();
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  after(() => app.close());

  const upload = async (content: string, owner = user): Promise<string> => {
    const headers = { "content-type": "application/json" };
    const answer = await app
      .as(owner)
      .post(`${PATH}?filename=endsong.json`, undefined, { raw: content, headers });
    return expectStatus(202, answer).body.id as string;
  };
  const setStatus = (id: string, status: string, more = ""): Promise<unknown> =>
    app.deps.database.pool.query(`update import_jobs set status = $2::import_status ${more} where id = $1`, [
      id,
      status,
    ]);

  it("shows an import that has just begun", async () => {
    const id = await upload("[]");
    const { body } = expectStatus(200, await app.as(user).get(`${PATH}/${id}`));
    const none = { read: 0, inserted: 0, duplicate: 0, skipped: 0, rejected: 0, linked: 0 };
    expect(body).to.deep.equal({
      id,
      kind: "file",
      status: "queued",
      source: null,
      sources: [],
      filename: "endsong.json",
      sizeBytes: 2,
      sha256: createHash("sha256").update("[]").digest("hex"),
      dryRun: false,
      options: { source: null },
      counts: none,
      skipped: {},
      rejected: {},
      duplicate: {},
      progress: { percent: 0, bytesRead: 0, bytesTotal: 0, partsDone: 0, partsTotal: 0 },
      parts: [],
      waiting: null,
      error: null,
      workflowId: `import-${id}-1`,
      createdAt: body.createdAt,
      startedAt: null,
      finishedAt: null,
    });
    expect(body.createdAt).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it("lists imports newest first, in pages that joined are the whole list", async () => {
    const made: string[] = [];
    for (const content of ["[1]", "[2]", "[3]", "[4]", "[5]"]) made.push(await upload(content));
    const listed = ({ body }: Answer): string[] =>
      (body.data as readonly { readonly id: string }[]).map((job) => job.id);
    expect(listed(await app.as(user).get(PATH))).to.deep.equal(made.toReversed());

    const joined: string[] = [];
    let path = `${PATH}?limit=2`;
    for (;;) {
      const page: Answer = expectStatus(200, await app.as(user).get(path));
      joined.push(...listed(page));
      if (page.body.nextCursor === null) break;
      path = `${PATH}?limit=2&cursor=${page.body.nextCursor as string}`;
    }
    expect(joined).to.deep.equal(made.toReversed());
  });

  describe("the ledger", () => {
    let id: string;

    beforeEach(async () => {
      id = await upload("[]");
      await writeLedger(id);
    });

    async function writeLedger(jobId: string): Promise<void> {
      const { pool } = app.deps.database;
      await pool.query(
        `insert into import_parts (job_id, part_no, name, format, status, read, inserted, duplicate, skipped, rejected)
         values ($1, 0, 'MyData/endsong_0.json', 'spotify-extended', 'done', 9, 1, 2, 3, 3)`,
        [jobId],
      );
      await pool.query(
        `insert into import_batches (job_id, part_no, batch_no, read, inserted, duplicate, skipped, rejected, reasons,
           claimed_ids, claimed_positions, claimed_reasons, skipped_positions, skipped_reasons)
         values ($1, 0, 0, 9, 1, 2, 3, 3,
           '{"duplicate": {"same_row": 1, "already_there": 1}, "skipped": {"podcast": 2, "incognito": 1},
             "rejected": {"malformed": 2, "bad_time": 1}}',
           '{7, 7, 8}', '{0, 2, 4}', '{0, 1, 2}', '{1, 3, 5}', '{1, 1, 5}')`,
        [jobId],
      );
      await pool.query(
        `insert into import_rows (job_id, part_no, position, verdict, reason, message, excerpt) values
           ($1, 0, 6, 'rejected', 'malformed', 'Not JSON', '=HYPERLINK("http://x")'),
           ($1, 0, 7, 'rejected', 'malformed', 'Line one' || chr(10) || 'line two', '-1, +1'),
           ($1, 0, 8, 'rejected', 'bad_time', 'No time', '@x'),
           ($1, 0, 3, 'skipped', 'podcast', 'An episode', chr(9) || 'tab')`,
        [jobId],
      );
    }

    const rows = (query = "", headers: Readonly<Record<string, string>> = {}): Promise<Answer> =>
      app.as(user).get(`${PATH}/${id}/rows${query}`, { headers });
    const positions = ({ body }: Answer): number[] =>
      (body.data as readonly { readonly position: number }[]).map((row) => row.position);

    it("lists each row with file, position, reason and the play it repeats", async () => {
      const { body } = expectStatus(200, await rows());
      expect(body.nextCursor).to.equal(null);
      expect(positions({ body } as Answer)).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8]);
      expect(body.data[1]).to.deep.equal({
        part: "MyData/endsong_0.json",
        position: 2,
        verdict: "duplicate",
        reason: "same_row",
        message: "The same row again in this upload",
        excerpt: null,
        listenId: 7,
      });
      expect(body.data[5]).to.deep.include({
        verdict: "rejected",
        excerpt: '=HYPERLINK("http://x")',
        listenId: null,
      });
    });

    it("filters by verdict and reason", async () => {
      expect(positions(await rows("?verdict=rejected"))).to.deep.equal([6, 7, 8]);
      expect(positions(await rows("?verdict=skipped&reason=podcast"))).to.deep.equal([1, 3]);
      expect(positions(await rows("?reason=bad_time"))).to.deep.equal([8]);
      expect(positions(await rows("?verdict=duplicate&reason=bad_time"))).to.deep.equal([]);
    });

    it("gives pages that joined are the whole ledger", async () => {
      const first = await rows("?limit=3");
      const second = await rows(`?limit=3&cursor=${first.body.nextCursor as string}`);
      const third = await rows(`?limit=3&cursor=${second.body.nextCursor as string}`);
      expect([first, second, third].flatMap(positions)).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8]);
      expect(third.body.nextCursor).to.equal(null);
    });

    it("comes as CSV that no spreadsheet takes for formulas", async () => {
      const { body, headers } = expectStatus(
        200,
        await rows("?verdict=rejected&limit=1", { accept: "text/csv" }),
      );
      expect(headers.get("content-type")).to.match(/^text\/csv; charset=utf-8/);
      expect(headers.get("vary")).to.match(/accept/i);
      expect(body).to.equal(
        [
          "part,position,verdict,reason,message,excerpt,listenId",
          `MyData/endsong_0.json,6,rejected,malformed,Not JSON,"'=HYPERLINK(""http://x"")",`,
          `MyData/endsong_0.json,7,rejected,malformed,"Line one\nline two","'-1, +1",`,
          "MyData/endsong_0.json,8,rejected,bad_time,No time,'@x,",
          "",
        ].join("\r\n"),
      );
      const skipped = await rows("?verdict=skipped", { accept: "text/csv, application/json;q=0.5" });
      expect(skipped.body).to.include("podcast,An episode,'\ttab,\r\n");
      expect((await rows("", { accept: "*/*" })).headers.get("content-type")).to.match(/^application\/json/);
    });

    it("has a header line and nothing else in CSV when no row fits", async () => {
      const { body } = await rows("?verdict=duplicate&reason=podcast", { accept: "text/csv" });
      expect(body).to.equal("part,position,verdict,reason,message,excerpt,listenId\r\n");
    });

    for (const [query, path] of [
      ["verdict=inserted", "verdict"],
      ["reason=boredom", "reason"],
      ["limit=0", "limit"],
      ["cursor=x", "cursor"],
      ["page=1", "page"],
    ] as const) {
      it(`refuses ?${query}, naming ${path}`, async () => {
        const { status, body } = await rows(`?${query}`);
        expect(status).to.equal(400);
        expect(body.errors[0].path).to.equal(path);
      });
    }
  });

  describe("cancel", () => {
    const cancel = (id: string): Promise<Answer> => app.as(user).post(`${PATH}/${id}/cancel`);

    it("answers 202 while it changes something, 200 after that", async () => {
      const id = await upload("[]");
      expect(expectStatus(202, await cancel(id)).body).to.include({ id, status: "cancelled" });
      expect(expectStatus(200, await cancel(id)).body).to.include({ id, status: "cancelled" });
    });

    for (const status of ["running", "paused"]) {
      it(`asks an import that is ${status} to stop`, async () => {
        const id = await upload("[]");
        await setStatus(id, status);
        expect(expectStatus(202, await cancel(id)).body.status).to.equal("cancelling");
        expect(expectStatus(200, await cancel(id)).body.status).to.equal("cancelling");
      });
    }

    for (const status of ["completed", "completed_with_errors", "failed", "undoing", "undone"]) {
      it(`is in the wrong state for an import that is ${status}`, async () => {
        const id = await upload("[]");
        await setStatus(id, status);
        expect(expectStatus(409, await cancel(id)).body.code).to.equal("wrong_state");
      });
    }
  });

  describe("retry", () => {
    const retry = (id: string): Promise<Answer> => app.as(user).post(`${PATH}/${id}/retry`);

    for (const status of ["failed", "cancelled", "completed_with_errors"]) {
      it(`runs an import again that is ${status}, once`, async () => {
        const id = await upload("[]");
        await setStatus(id, status, ", finished_at = now(), blob_delete_after = now() + interval '1 day'");
        const { body } = expectStatus(202, await retry(id));
        expect(body).to.include({ id, status: "queued", workflowId: `import-${id}-2`, finishedAt: null });
        expect(expectStatus(200, await retry(id)).body.workflowId).to.equal(`import-${id}-2`);
      });
    }

    it("says so when the upload is not kept any more", async () => {
      const id = await upload("[]");
      await setStatus(id, "failed", ", blob_key = null");
      expect(expectStatus(409, await retry(id)).body.code).to.equal("upload_gone");
    });

    for (const status of ["completed", "cancelling", "paused", "undone"]) {
      it(`is in the wrong state for an import that is ${status}`, async () => {
        const id = await upload("[]");
        await setStatus(id, status);
        expect(expectStatus(409, await retry(id)).body.code).to.equal("wrong_state");
      });
    }
  });

  describe("for anybody but the owner", () => {
    const addresses = (id: string) =>
      [
        ["GET", `${PATH}/${id}`],
        ["GET", `${PATH}/${id}/rows`],
        ["POST", `${PATH}/${id}/cancel`],
        ["POST", `${PATH}/${id}/retry`],
      ] as const;

    it("answers like for an import that never existed, byte by byte", async () => {
      const stranger = await buildUser(app);
      const id = await upload("[]");
      const seen = async (method: string, path: string) => {
        const { status, headers, body } = await app.as(stranger).request(method, path);
        const names = [...headers.keys()].filter((name) => name !== "date");
        return {
          status,
          names,
          length: headers.get("content-length"),
          text: JSON.stringify({ ...body, requestId: "" }),
        };
      };
      const never = addresses(randomUUID());
      for (const [index, [method, path]] of addresses(id).entries()) {
        const theirs = await seen(method, path);
        expect(theirs.status, path).to.equal(404);
        expect(theirs, path).to.deep.equal(await seen(method, never[index]?.[1] ?? ""));
      }
      const { body } = await app.as(user).get(`${PATH}/${id}`);
      expect(body.status, "untouched").to.equal("queued");
      expect((await app.as(stranger).get(PATH)).body.data).to.deep.equal([]);
    });

    it("needs a token", async () => {
      for (const [method, path] of [...addresses(randomUUID()), ["GET", PATH], ["POST", PATH]] as const) {
        expect((await app.anonymous.request(method, path)).status, path).to.equal(401);
      }
    });
  });

  it("answers 404 for what is no id, and for what is not built", async () => {
    for (const id of ["1", "x", `${randomUUID()}0`, `{${randomUUID()}}`, "%00"]) {
      expect((await app.as(user).get(`${PATH}/${id}`)).status, id).to.equal(404);
    }
    const id = await upload("[]");
    for (const action of ["pause", "resume", "undo"]) {
      expect((await app.as(user).post(`${PATH}/${id}/${action}`)).status, action).to.equal(404);
    }
    expect((await app.as(user).get(`${PATH}/${id}/events`)).status).to.equal(404);
  });

  it("refuses cursors it has not given, also well-made ones that lead nowhere", async () => {
    const id = await upload("[]");
    for (const path of [
      `${PATH}?cursor=x`,
      `${PATH}?cursor=${encodeCursor("imports", ["infinity!", "no uuid"])}`,
      `${PATH}/${id}/rows?cursor=x`,
      `${PATH}/${id}/rows?cursor=${encodeCursor(`import-rows:${id}`, [1e300, -1.5])}`,
    ]) {
      const { status, body } = await app.as(user).get(path);
      expect([status, body.errors?.[0]?.code], path).to.deep.equal([400, "bad_cursor"]);
    }
  });
});
