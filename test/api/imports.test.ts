import { createHash, randomUUID } from "node:crypto";
import { expect } from "chai";
import { encodeCursor } from "../../utils/pagination.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { insertPlays } from "../support/plays.js";

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
  const addParts = (ids: readonly string[], count: number): Promise<unknown> =>
    app.deps.database.pool.query(
      `insert into import_parts (job_id, part_no, name, format, status, bytes_total)
       select id, n, 'MyData/Streaming_History_Audio_' || n || '.json', 'spotify-extended', 'queued', 1000
         from unnest($1::uuid[]) id cross join generate_series(1, $2) n`,
      [ids, count],
    );
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
      options: { source: null, from: null, until: null, includeIncognito: false },
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

  it("keeps pages of imports with thousands of files short, and joined they are still the whole list", async () => {
    const made: string[] = [];
    for (let n = 0; n < 25; n += 1) made.push(await upload(`[${n}]`));
    await addParts(made, 1000);
    const joined: string[] = [];
    const lengths: number[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const query = cursor === "" ? "" : `?cursor=${cursor}`;
      const page: Answer = expectStatus(200, await app.as(user).get(`${PATH}${query}`));
      lengths.push(Number(page.headers.get("content-length")));
      const data = page.body.data as readonly { readonly id: string; readonly parts: readonly unknown[] }[];
      joined.push(...data.map((job) => job.id));
      expect(data.map(({ parts }) => parts.length)).to.deep.equal(data.map(() => 1000));
      cursor = page.body.nextCursor as string | null;
    }
    expect(joined).to.deep.equal(made.toReversed());
    expect(lengths).to.have.length(3);
    expect(Math.max(...lengths)).to.be.below(4_000_000);
  });

  it("shows an import on its page though its files alone are more than fit", async () => {
    const [small, large] = [await upload("[1]"), await upload("[2]")];
    await addParts([large], 10_001);
    const first = expectStatus(200, await app.as(user).get(PATH)).body;
    expect(first.data.map((job: { id: string }) => job.id)).to.deep.equal([large]);
    expect(first.data[0].parts).to.have.length(10_001);
    const second = expectStatus(200, await app.as(user).get(`${PATH}?cursor=${first.nextCursor}`)).body;
    expect([second.data[0].id, second.nextCursor]).to.deep.equal([small, null]);
  });

  describe("how far an import is", () => {
    const PARTS = `insert into import_parts (job_id, part_no, name, format, status, bytes_total, bytes_read) values
      ($1, 0, 'a.json', 'spotify-extended', 'done', 600, 600), ($1, 1, 'b.json', 'spotify-extended', $2, 400, 100)`;

    for (const [status, second, percent] of [
      ["running", "running", 70],
      ["paused", "queued", 70],
      ["paused", "done", 99],
      ["cancelled", "queued", 70],
      ["completed", "done", 100],
      ["completed_with_errors", "failed", 100],
      ["undoing", "failed", 100],
      ["undone", "failed", 100],
      ["undone", "queued", 70],
    ] as const) {
      it(`is ${percent} % when it is ${status} and a file is ${second}`, async () => {
        const id = await upload("[]");
        await app.deps.database.pool.query(PARTS, [id, second]);
        await setStatus(id, status);
        const { body } = expectStatus(200, await app.as(user).get(`${PATH}/${id}`));
        expect(body.progress.percent).to.equal(percent);
        expect(body.progress.partsTotal).to.equal(2);
      });
    }

    it("is told for a dry run like for any other", async () => {
      const id = await upload("[]");
      await app.deps.database.pool.query(PARTS, [id, "running"]);
      await setStatus(id, "running", ", dry_run = true");
      const { body } = expectStatus(200, await app.as(user).get(`${PATH}/${id}`));
      expect([body.dryRun, body.progress.percent]).to.deep.equal([true, 70]);
    });

    it("names what it waits for, while it does", async () => {
      const id = await upload("[]");
      const waiting = async (): Promise<unknown> => (await app.as(user).get(`${PATH}/${id}`)).body.waiting;
      await setStatus(id, "paused");
      expect(await waiting()).to.deep.equal({ reason: "paused_by_user", until: null });
      await setStatus(id, "undoing", ", waiting_reason = 'database'");
      expect(await waiting()).to.deep.equal({ reason: "database", until: null });
      await setStatus(id, "undone");
      expect(await waiting()).to.equal(null);
    });
  });

  describe("the ledger", () => {
    let id: string;
    let play: number;

    beforeEach(async () => {
      id = await upload("[]");
      [play] = (await insertPlays(app.deps.database.pool, user.id, [
        { playedAt: "2020-01-01T00:00:00Z", importId: id },
      ])) as [number];
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
        `insert into import_batches (job_id, part_no, batch_no, first_position, read, inserted, duplicate, skipped,
           rejected, reasons, claimed_ids, claimed_positions, claimed_reasons, skipped_positions, skipped_reasons)
         values ($1, 0, 0, 0, 9, 1, 2, 3, 3,
           '{"duplicate": {"same_row": 1, "already_there": 1}, "skipped": {"podcast": 2, "incognito": 1},
             "rejected": {"malformed": 2, "bad_time": 1}}',
           array[$2::bigint, $2::bigint, $2::bigint + 1000000], '{0, 2, 4}', '{0, 1, 2}', '{1, 3, 5}', '{1, 1, 5}')`,
        [jobId, play],
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
        listenId: play,
      });
      // The play it repeats is gone.
      expect(body.data[3]).to.deep.include({ reason: "already_there", listenId: null });
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
        await setStatus(id, status, ", started_at = now()");
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

  describe("pause and resume", () => {
    const pause = (id: string): Promise<Answer> => app.as(user).post(`${PATH}/${id}/pause`);
    const resume = (id: string): Promise<Answer> => app.as(user).post(`${PATH}/${id}/resume`);

    it("answer 200, whether they change something or not", async () => {
      const id = await upload("[]");
      for (let times = 0; times < 2; times += 1) {
        expect(expectStatus(200, await pause(id)).body).to.deep.include({
          id,
          status: "paused",
          waiting: { reason: "paused_by_user", until: null },
        });
      }
      for (let times = 0; times < 2; times += 1) {
        expect(expectStatus(200, await resume(id)).body).to.include({ id, status: "queued", waiting: null });
      }
    });

    it("let an import that was running run on", async () => {
      const id = await upload("[]");
      await setStatus(id, "running", ", started_at = now()");
      expect(expectStatus(200, await pause(id)).body.status).to.equal("paused");
      expect(expectStatus(200, await resume(id)).body.status).to.equal("running");
    });

    for (const status of [
      "cancelling",
      "cancelled",
      "completed",
      "completed_with_errors",
      "failed",
      "undoing",
      "undone",
    ]) {
      it(`are in the wrong state for an import that is ${status}`, async () => {
        const id = await upload("[]");
        await setStatus(id, status);
        expect(expectStatus(409, await pause(id)).body.code).to.equal("wrong_state");
        expect(expectStatus(409, await resume(id)).body.code).to.equal("wrong_state");
      });
    }
  });

  describe("undo", () => {
    const undo = (id: string): Promise<Answer> => app.as(user).post(`${PATH}/${id}/undo`);

    for (const status of ["completed", "completed_with_errors", "failed", "cancelled"]) {
      it(`begins for an import that is ${status}, once`, async () => {
        const id = await upload("[]");
        await setStatus(id, status, ", finished_at = now()");
        expect(expectStatus(202, await undo(id)).body).to.include({ id, status: "undoing" });
        expect(expectStatus(200, await undo(id)).body).to.include({ id, status: "undoing" });
      });
    }

    it("is nothing new for an import that is undone", async () => {
      const id = await upload("[]");
      await setStatus(id, "undone", ", finished_at = now()");
      expect(expectStatus(200, await undo(id)).body).to.include({ id, status: "undone" });
    });

    for (const status of ["queued", "running", "paused", "cancelling"]) {
      it(`is in the wrong state for an import that is ${status}`, async () => {
        const id = await upload("[]");
        await setStatus(id, status);
        expect(expectStatus(409, await undo(id)).body.code).to.equal("wrong_state");
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
        ["GET", `${PATH}/${id}/events`],
        ...["cancel", "pause", "resume", "retry", "undo"].map(
          (action) => ["POST", `${PATH}/${id}/${action}`] as const,
        ),
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

  it("answers 404 for what is no id, and for what is no address", async () => {
    for (const id of ["1", "x", `${randomUUID()}0`, `{${randomUUID()}}`, "%00"]) {
      expect((await app.as(user).get(`${PATH}/${id}`)).status, id).to.equal(404);
    }
    const id = await upload("[]");
    expect((await app.as(user).post(`${PATH}/${id}/restart`)).status).to.equal(404);
    const wrongMethod = expectStatus(405, await app.as(user).post(`${PATH}/${id}/events`));
    expect(wrongMethod.headers.get("allow")).to.equal("HEAD, GET, OPTIONS");
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
