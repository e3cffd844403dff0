import { expect } from "chai";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { AnswerBody } from "../support/http.js";
import { startEntry, type RunningEntry } from "../support/processes.js";
import { testStack } from "../support/stack.js";
import { zip } from "../support/zip.js";

/** Real export files, kept beside the repository because they are not ours to publish. */
const FIXTURES = path.resolve(import.meta.dirname, "../../../shared/fixtures");

interface Export {
  readonly file: string;
  readonly read: number;
  readonly kept: number;
  readonly skipped: Readonly<Record<string, number>>;
  /** Its name in an archive whose maker renamed everything. */
  readonly foreignName: string;
}

const EXPORTS: readonly Export[] = [
  {
    file: "spotify-extended/koito/Streaming_History_Audio_spotify_import_test.json",
    read: 39,
    kept: 39,
    skipped: {},
    foreignName: "a.json",
  },
  {
    file: "spotify-extended/nl-2024/Streaming_History_Audio_2024-2025_3.json",
    read: 2570,
    kept: 2557,
    skipped: { podcast: 13 },
    foreignName: "muziek/winter.txt",
  },
  {
    file: "spotify-extended/nl-2024/Streaming_History_Video_2020-2024.json",
    read: 2129,
    kept: 0,
    skipped: { podcast: 1917, video: 212 },
    foreignName: "x/Video.json",
  },
  {
    file: "spotify-extended/us-2023-21key/Streaming_History_Audio_2023_5.json",
    read: 5046,
    kept: 5046,
    skipped: {},
    foreignName: "old.json",
  },
  {
    file: "spotify-extended/endsong-tiny/endsong_0.json",
    read: 10,
    kept: 9,
    skipped: { podcast: 1 },
    foreignName: "日本.json",
  },
  {
    file: "spotify-account/2022/StreamingHistory0.json",
    read: 9595,
    kept: 9595,
    skipped: {},
    foreignName: "y1",
  },
  {
    file: "spotify-account/2024/StreamingHistory_music_0.json",
    read: 10_000,
    kept: 10_000,
    skipped: {},
    foreignName: "y2",
  },
  {
    file: "spotify-account/2024/StreamingHistory_music_1.json",
    read: 8083,
    kept: 8083,
    skipped: {},
    foreignName: "y3",
  },
  {
    file: "spotify-account/podcast/StreamingHistory_podcast_0.json",
    read: 206,
    kept: 0,
    skipped: { podcast: 206 },
    foreignName: "talk.json",
  },
  {
    file: "spotify-account/audiobook/StreamingHistory_audiobook_0.json",
    read: 4,
    kept: 0,
    skipped: { audiobook: 4 },
    foreignName: "books.json",
  },
];

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

describe("real Spotify exports, from the upload to the page", function () {
  this.timeout(120_000);
  let app: TestApp;
  let worker: RunningEntry | undefined;

  before(async function () {
    if (!existsSync(FIXTURES)) {
      console.error(`skipped: no real export files at ${FIXTURES}`);
      this.skip();
    }
    const stack = testStack();
    app = await startTestApp();
    worker = await startEntry("activities/worker.ts", {
      DATABASE_URL: app.databaseUrl,
      REDIS_URL: stack.redisUrl,
      TEMPORAL_ADDRESS: stack.temporalAddress,
      TEMPORAL_TASK_QUEUE: app.config.temporal.taskQueue,
      PLAYLOG_HOME: app.config.home,
      PLAYLOG_WORKFLOW_BUNDLE: stack.workflowBundle,
      LOG_LEVEL: "warn",
    });
  });

  after(async () => {
    await worker?.stop();
    await (app as TestApp | undefined)?.close();
  });

  async function imported(user: TestUser, upload: Buffer, name: string): Promise<AnswerBody> {
    const client = app.as(user);
    const type = name.endsWith(".zip") ? "application/zip" : "application/json";
    const accepted = await client.post(`/api/v1/imports?filename=${encodeURIComponent(name)}`, undefined, {
      raw: new Uint8Array(upload),
      headers: { "content-type": type },
    });
    expect(accepted.status, JSON.stringify(accepted.body)).to.equal(202);
    const id = (accepted.body as { id: string }).id;
    for (let tries = 0; tries < 600; tries++) {
      const { body } = await client.get(`/api/v1/imports/${id}`);
      if (
        ["completed", "completed_with_errors", "failed", "cancelled"].includes(
          (body as { status: string }).status,
        )
      )
        return body;
      await sleep(100);
    }
    throw new Error(`Import ${id} did not end; the worker said:\n${worker?.output()}`);
  }

  const read = (file: string): Promise<Buffer> => readFile(path.join(FIXTURES, file));

  for (const { file, read: total, kept, skipped } of EXPORTS) {
    it(`keeps ${kept} of ${total} records of ${file}, and none when it comes again`, async function () {
      if (!existsSync(path.join(FIXTURES, file))) this.skip();
      const user = await buildUser(app);
      const upload = await read(file);
      const name = path.basename(file);

      const first = await imported(user, upload, name);
      expect(first.status).to.equal("completed");
      expect(first.counts).to.include({ read: total, inserted: kept, duplicate: 0, rejected: 0 });
      expect(first.skipped).to.deep.equal(skipped);
      expect(first.rejected).to.deep.equal({});

      const again = await imported(user, upload, name);
      expect(again.counts).to.include({ read: total, inserted: 0, duplicate: kept, rejected: 0 });
      expect(again.duplicate).to.deep.equal(kept === 0 ? {} : { already_there: kept });

      const page = await app.as(user).get("/api/v1/listening-history?limit=1&includeTotal=true");
      expect(page.body.total).to.equal(first.counts.inserted);
    });
  }

  it("keeps the same sum from one ZIP of all of them under foreign names", async function () {
    if (EXPORTS.some(({ file }) => !existsSync(path.join(FIXTURES, file)))) this.skip();
    const user = await buildUser(app);
    const files = await Promise.all(
      EXPORTS.map(async ({ file, foreignName }) => ({ name: foreignName, data: await read(file) })),
    );

    const job = await imported(user, zip(files), "everything.zip");

    expect(job.status).to.equal("completed");
    expect(job.counts.read).to.equal(sum(EXPORTS.map((one) => one.read)));
    expect(job.counts.inserted + job.counts.duplicate).to.equal(sum(EXPORTS.map((one) => one.kept)));
    expect(job.skipped).to.deep.equal({ podcast: 13 + 1917 + 1 + 206, video: 212, audiobook: 4 });
    expect(job.parts.map((part: AnswerBody) => part.name)).to.have.members(
      EXPORTS.map((one) => one.foreignName),
    );
  });

  it("keeps plays of 0 ms and does not count them", async function () {
    const { file } = EXPORTS[3]!;
    if (!existsSync(path.join(FIXTURES, file))) this.skip();
    const user = await buildUser(app);
    await imported(user, await read(file), "history.json");
    const { body } = await app.as(user).get("/api/v1/listening-history?limit=1000&counted=false");
    const silent = (body.data as { msPlayed: number; counted: boolean }[]).filter(
      (play) => play.msPlayed === 0,
    );
    expect(silent.length).to.be.greaterThan(0);
    expect(silent.every((play) => !play.counted)).to.equal(true);
  });
});
