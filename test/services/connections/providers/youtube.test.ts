import { readdir } from "node:fs/promises";
import type { Readable } from "node:stream";
import { expect } from "chai";
import {
  ProviderError,
  RateLimitedError,
  ReauthNeededError,
} from "../../../../services/connections/errors.js";
import { providersOf } from "../../../../services/connections/providers/index.js";
import type {
  ArchiveProvider,
  ArchiveStage,
  SyncAccess,
} from "../../../../services/connections/providers/types.js";
import { createTestDatabase, type TestDatabase } from "../../../support/database.js";
import { broken, html, json, tooMany } from "../../../support/providers/exchange.js";
import { type StandIn, startStandIn } from "../../../support/providers/standIn.js";
import { rejection } from "../../../support/rejection.js";
import { insertUser } from "../../../support/users.js";
import { zip } from "../../../support/zip.js";
import { activity, videoUrl } from "../../import/formats/youtubeSamples.js";
import { countsOfJob, createBench, type ImportBench } from "../../import/importing.js";
import { insertConnection, openedSync, stepContext, stepsUntil, syncSteps } from "../syncBench.js";
import { accessOf, clientsOf } from "./reading.js";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const NOW = Date.UTC(2026, 0, 5);
const INITIATE = "/v1/portabilityArchive:initiate";
const STATE = "/v1/archiveJobs/";

/** As Google delivers it: activity in JSON inside a ZIP. */
const archive = (...songs: readonly number[]): Buffer =>
  zip([
    {
      name: "Portability/My Activity/YouTube/MyActivity.json",
      data: JSON.stringify(
        songs.map((n) =>
          activity({ title: `Watched Song ${n}`, url: videoUrl(n), time: `2024-0${n}-01T10:00:00.000Z` }),
        ),
      ),
    },
  ]);

const failure = (code: number, status: string, ...details: object[]) =>
  json(code, { error: { code, status, message: "…", details } });
const tooSoon = (metadata: object) =>
  failure(429, "RESOURCE_EXHAUSTED", { reason: "RESOURCE_EXHAUSTED_TIME_BASED", metadata });
const usedUp = (metadata: object) =>
  failure(429, "RESOURCE_EXHAUSTED", { reason: "RESOURCE_EXHAUSTED_ONE_TIME", metadata });
const underWay = (metadata: object) =>
  failure(409, "ALREADY_EXISTS", { reason: "ALREADY_EXISTS_TIME_BASED", metadata });

describe("YouTube's history through Data Portability", () => {
  let standIn: StandIn;
  let access: SyncAccess;
  let stored: Buffer[];

  before(async () => {
    standIn = await startStandIn();
    access = accessOf("ada", standIn.google.oauth.issue("ada").accessToken);
  });
  beforeEach(() => {
    standIn.reset();
    standIn.google.polls = 0;
    standIn.google.jobs.clear();
    standIn.google.spent.clear();
    standIn.google.now = () => new Date(NOW);
    standIn.google.files = [archive(1, 2)];
    stored = [];
  });
  after(() => standIn.stop());

  function youtube(): ArchiveProvider {
    const settings = standIn.settings();
    const provider = providersOf(settings, clientsOf(settings)).get("youtube");
    if (provider === undefined || !("archive" in provider)) throw new Error("not set up");
    return provider;
  }

  async function store(bytes: Readable) {
    const chunks: Buffer[] = [];
    for await (const chunk of bytes as AsyncIterable<Buffer>) chunks.push(chunk);
    stored.push(Buffer.concat(chunks));
    return { key: "blob", sizeBytes: stored.at(-1)!.length, sha256: Buffer.alloc(32) };
  }

  const stage = (cursor: ArchiveStage["cursor"] | null, polledAt = NOW): Promise<ArchiveStage> =>
    youtube().archive({ access, cursor, polledAt, store, signal: new AbortController().signal });
  const paths = () => standIn.seen.map(({ url }) => url.pathname);

  it("is asked for, waited for ever longer, and fetched", async () => {
    standIn.google.polls = 5;
    const asked = await stage(null);
    expect(asked.next).to.deep.equal({ kind: "wait", until: NOW + 5 * MINUTE });
    expect(JSON.parse(standIn.seen[0]!.body)).to.deep.equal({ resources: ["myactivity.youtube"] });

    const pauses: number[] = [];
    let { cursor } = asked;
    for (;;) {
      const { cursor: after, next } = await stage(cursor);
      cursor = after;
      if (next.kind === "wait") pauses.push((next.until - NOW) / MINUTE);
      else {
        expect(next).to.deep.include({ kind: "upload", filename: "youtube.zip" });
        break;
      }
    }
    expect(pauses).to.deep.equal([10, 20, 40, 60, 60]);
    expect(stored).to.deep.equal([standIn.google.files[0]]);
    expect(paths().filter((path) => path === INITIATE)).to.have.length(1);

    // From then on only what is new, with two days of overlap.
    standIn.reset();
    await stage(cursor, NOW + 3 * DAY);
    expect(JSON.parse(standIn.seen[0]!.body)).to.deep.include({
      startTime: new Date(NOW - 2 * DAY).toISOString(),
    });
  });

  it("is one file of however many, and none where there are none", async () => {
    standIn.google.files = [archive(1), archive(2), archive(3)];
    const { next } = await stage((await stage(null)).cursor);
    expect(next.kind).to.equal("upload");
    for (const file of standIn.google.files) expect(stored[0]!.includes(file)).to.equal(true);

    standIn.google.files = [];
    const none = await stage((await stage(null)).cursor);
    expect(none.next).to.deep.equal({ kind: "done" });
    expect(none.cursor).to.include({ jobId: null, knownUntil: NOW });
  });

  it("is waited for a day where Google makes one archive a day", async () => {
    standIn.next(INITIATE, failure(400, "FAILED_PRECONDITION"));
    expect((await stage(null)).next).to.deep.equal({ kind: "wait", until: NOW + DAY });
    standIn.next(INITIATE, tooSoon({ timestamp_after_24hrs: "2026-01-05T07:00:00Z" }));
    expect((await stage(null)).next).to.deep.equal({ kind: "wait", until: NOW + 7 * 60 * MINUTE });
  });

  it("finds the archive again that was asked for just before a crash, but none that it is done with", async () => {
    const named = [
      tooSoon({ previous_job_ids: "job-1,job-2" }),
      tooSoon({ previous_job_ids: ["job-1", "job-2"] }),
      usedUp({ previous_job_ids: "[job-1, job-2]" }),
      underWay({ job_id: "job-2" }),
    ];
    for (const answer of named) {
      standIn.next(INITIATE, answer);
      const found = await stage({ doneJobIds: ["job-1"], knownUntil: 1 });
      expect(found.cursor).to.include({ jobId: "job-2", askedAt: null });
      expect(found.next).to.deep.equal({ kind: "wait", until: NOW + 5 * MINUTE });
    }
    standIn.next(INITIATE, tooSoon({ previous_job_ids: "job-1,job-2" }), underWay({}));
    const known = await stage({ doneJobIds: ["job-1", "job-2"], knownUntil: 1 });
    expect(known.cursor).to.include({ jobId: null });
    expect(known.next).to.deep.equal({ kind: "wait", until: NOW + DAY });
    expect((await stage(null)).next).to.deep.equal({ kind: "wait", until: NOW + 60 * MINUTE });
    expect(standIn.google.resets).to.equal(0);
  });

  it("asks for what is missing from the moment on that an archive found again was asked for", async () => {
    const complete = { state: "COMPLETE", urls: [`${standIn.origin}/archive/0`] };
    const exportTime = new Date(NOW - DAY).toISOString();
    for (const [told, knownUntil] of [
      [{ exportTime }, NOW - DAY],
      [{ exportTime: new Date(NOW + DAY).toISOString() }, NOW],
      [{ exportTime: "soon" }, 1],
    ] as const) {
      standIn.next(STATE, json(200, { ...complete, ...told }));
      const { cursor } = await stage({ jobId: "job-2", askedAt: null, doneJobIds: ["job-1"], knownUntil: 1 });
      expect(cursor).to.deep.include({ jobId: null, doneJobIds: ["job-1", "job-2"], knownUntil });
    }
  });

  it("needs the user again when they allowed one archive only, and it is in", async () => {
    standIn.google.oneTime = true;
    const { cursor } = await stage(null);
    standIn.google.oneTime = false;
    const { cursor: done, next } = await stage(cursor);
    expect(next.kind).to.equal("upload");
    expect(await rejection(stage(done))).to.be.instanceOf(ReauthNeededError);
    expect(standIn.google.resets).to.equal(1);
    standIn.next(INITIATE, failure(403, "PERMISSION_DENIED"));
    expect(await rejection(stage(null))).to.be.instanceOf(ReauthNeededError);
  });

  it("tells a limit on requests from one on archives", async () => {
    const limited = [
      tooMany("80000"),
      tooMany(),
      failure(429, "RESOURCE_EXHAUSTED", { reason: "RATE_LIMIT_EXCEEDED" }),
      failure(429, "RESOURCE_EXHAUSTED"),
    ];
    for (const answer of limited) {
      standIn.next(INITIATE, answer);
      expect(await rejection(stage(null))).to.be.instanceOf(RateLimitedError);
    }
    expect(standIn.google.resets).to.equal(1); // of the test before
  });

  it("is made again when Google failed, three times, and asked for anew a day later", async () => {
    const { cursor } = await stage(null);
    let at = cursor;
    for (let n = 1; n <= 3; n += 1) {
      standIn.next(STATE, json(200, { state: "FAILED" }), json(200, { archiveJobId: `again-${n}` }));
      const { cursor: next } = await stage(at);
      expect(next).to.include({ jobId: `again-${n}`, retries: n });
      at = next;
    }
    standIn.next(STATE, json(200, { state: "FAILED" }));
    const given = await stage(at);
    expect(await rejection(stage(given.cursor, NOW + MINUTE))).to.be.instanceOf(ProviderError);
    expect((await stage(given.cursor, NOW + DAY)).cursor).to.include({ retries: 0, failedAt: null });
  });

  it("is asked for anew when Google has forgotten the archive", async () => {
    const { cursor, next } = await stage({ jobId: "long-gone", askedAt: 1 });
    expect(cursor).to.deep.include({ jobId: null, doneJobIds: ["long-gone"] });
    expect(next).to.deep.equal({ kind: "wait", until: NOW });
  });

  it("stays where it was while Google is in trouble", async () => {
    for (const answer of [broken(503), html()]) {
      standIn.next(STATE, answer);
      const error = await rejection(stage({ jobId: "job-1" }));
      expect(error).to.be.instanceOf(ProviderError).that.has.property("retryable", true);
    }
    for (const answer of [json(200, { state: "MAYBE" }), json(200, { state: "COMPLETE", urls: [1] })]) {
      standIn.next(STATE, answer);
      const error = await rejection(stage({ jobId: "job-1" }));
      expect(error).to.be.instanceOf(ProviderError).that.has.property("retryable", false);
    }
  });

  it("is fetched from public addresses only, and an address with a signature is told to nobody", async () => {
    for (const url of [
      "https://169.254.169.254/x?signature=canary",
      "http://example.org/x?signature=canary",
    ]) {
      for (const urls of [[url], [`${standIn.origin}/archive/0`, url]]) {
        standIn.next(STATE, json(200, { state: "COMPLETE", urls }));
        const error = await rejection(stage({ jobId: "job-1" }));
        expect(error).to.be.instanceOf(ProviderError).that.has.property("retryable", false);
        expect((error as Error).message)
          .to.include("public internet")
          .and.not.include("canary");
      }
    }
    standIn.next("/archive/0", broken(503));
    const { cursor } = await stage(null);
    const error = await rejection(stage(cursor));
    expect(error).to.be.instanceOf(ProviderError).that.has.property("retryable", true);
    expect((error as Error).message).to.not.include("canary");
    expect((await stage(cursor)).next.kind).to.equal("upload");
  });

  describe("as a sync", function () {
    this.timeout(30_000);
    let db: TestDatabase;
    let bench: ImportBench;

    before(async () => {
      db = await createTestDatabase();
      bench = await createBench(db.database.pool);
    });
    after(async () => {
      await bench.close();
      await db.drop();
    });

    it("brings the plays of all files, once, as the same history in an upload does", async () => {
      const { pool } = db.database;
      const user = await insertUser(pool);
      const connection = await insertConnection(pool, user, { provider: "youtube" });
      standIn.google.files = [archive(1, 2), archive(2, 3)];
      const openAccess = () => Promise.resolve({ ...access, connectionId: connection });
      const steps = syncSteps(pool, youtube(), { blobs: bench.blobs, openAccess });
      const id = await openedSync(pool, connection);
      expect(await stepsUntil(steps, id)).to.include({ status: "waiting" });
      expect(await stepsUntil(steps, id)).to.deep.equal({ status: "upload" });
      expect(await bench.run(id)).to.equal("completed");
      expect(await countsOfJob(pool, id)).to.include({ read: 4, inserted: 3, duplicate: 1 });

      const upload = await bench.job(user, archive(1, 2, 3));
      expect(await bench.run(upload)).to.equal("completed");
      expect(await countsOfJob(pool, upload)).to.include({ read: 3, inserted: 0, duplicate: 3 });
    });

    it("leaves no file behind when an archive is larger than an upload may be", async () => {
      const { pool } = db.database;
      const connection = await insertConnection(pool, await insertUser(pool), { provider: "youtube" });
      const openAccess = () => Promise.resolve({ ...access, connectionId: connection });
      const steps = syncSteps(pool, youtube(), { blobs: bench.blobs, openAccess, uploadMaxBytes: 100 });
      const id = await openedSync(pool, connection);
      await steps.step({ importId: id, attempt: 1 }, stepContext());
      const before = await readdir(bench.spoolDir, { recursive: true });
      const error = await rejection(stepsUntil(steps, id));
      expect((error as Error).message).to.include("larger than an upload may be");
      expect(await readdir(bench.spoolDir, { recursive: true })).to.deep.equal(before);
    });
  });
});
