import { expect } from "chai";
import { FORMATS } from "../../../services/import/formats/index.js";
import { cancelJob, pauseJob, resumeJob, retryJob, undoJob } from "../../../services/import/control.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { rejection } from "../../support/rejection.js";
import { insertUser } from "../../support/users.js";
import { zip } from "../../support/zip.js";
import { activity as appleActivity, csv, daily } from "../../services/import/formats/appleRows.js";
import {
  activity as youtubeActivity,
  entry,
  page,
  videoUrl,
} from "../../services/import/formats/youtubeSamples.js";
import { countsOfJob, createBench, digestOf, json, play } from "../../services/import/importing.js";
import type { ImportBench } from "../../services/import/importing.js";

const MINUTE = 60_000;
const FIRST = Date.parse("2022-03-01T08:00:00Z");
const ROWS = 6;
const BATCH = 3;

const each = <T>(row: (n: number, at: number) => T): T[] =>
  Array.from({ length: ROWS }, (_, n) => row(n, FIRST + n * 10 * MINUTE));
const iso = (at: number): string => new Date(at).toISOString();
const second = (at: number): string => iso(at).replace(".000", "");
const lines = (records: readonly unknown[]): string =>
  records.map((record) => JSON.stringify(record)).join("\n");
const aliases = (alias: string): object => ({ aliases: [{ alias, source: "Canonical", is_primary: true }] });
const listen = (kind: string, n: number, at: number) => ({
  listened_at: at / 1000,
  track_metadata: { track_name: `${kind} ${n}`, artist_name: "Listener" },
});
const scrobble = (kind: string, n: number, at: number) => ({
  name: `${kind} ${n}`,
  artist: { "#text": "Scrobbler" },
  date: { uts: String(at / 1000) },
});

/** A file of each format, with plays of its own. */
const FILES: Readonly<Record<string, string | Buffer>> = {
  "spotify-extended": json(each((n, at) => play(n, { at: second(at), title: `Extended ${n}` }))),
  "spotify-account": json(
    each((n, at) => ({
      endTime: iso(at).slice(0, 16).replace("T", " "),
      artistName: "Account",
      trackName: `Account ${n}`,
      msPlayed: 100_000,
    })),
  ),
  "apple-activity": csv(each((n) => appleActivity(`Apple ${n}`, n * 10 * MINUTE, (n * 10 + 2) * MINUTE))),
  "apple-daily": csv(each((n) => daily(`Daily - Day ${n}`, 1, { "Track Identifier": n }))),
  "apple-library": json(
    each((n) => ({ "Track Identifier": n, Title: `Apple ${n}`, Artist: "Library", "Content Type": "Song" })),
  ),
  "apple-recent": csv(
    each((n) => ({ "Track Description": `R - ${n}`, "Last Modified": "x", "Container Description": "" })),
  ),
  "apple-track-history": csv(
    each((n, at) => ({ "Track Name": `H - ${n}`, "Last Played Date": at, "Is User Initiated": "true" })),
  ),
  listenbrainz: lines(each((n, at) => listen("Line", n, at))),
  "listenbrainz-list": json(each((n, at) => listen("List", n, at))),
  "lastfm-pages": json([{ track: each((n, at) => scrobble("Page", n, at)) }]),
  "lastfm-list": json(each((n, at) => scrobble("Flat", n, at))),
  "lastfm-stats": JSON.stringify({
    username: "user",
    scrobbles: each((n, at) => ({ track: `Stats ${n}`, artist: "Scrobbler", album: "", date: at })),
  }),
  "lastfm-csv": csv(each((n, at) => ({ uts: at / 1000, artist: "Scrobbler", album: "", track: `Csv ${n}` }))),
  "lastfm-offset-csv": csv(
    each((n, at) => ({
      ts: `${iso(at + 120 * MINUTE)
        .slice(0, 19)
        .replace("T", " ")}+02:00`,
      track: `Offset ${n}`,
      artist: "Scrobbler",
      album: "",
    })),
  ),
  "lastfm-minute-csv": each((n, at) => `Scrobbler,,Minute ${n},01 Mar 2022 ${iso(at).slice(11, 16)}\n`).join(
    "",
  ),
  maloja: JSON.stringify({
    maloja: { export_time: 1 },
    scrobbles: each((n, at) => ({ time: at / 1000, track: { artists: ["M"], title: `Maloja ${n}` } })),
  }),
  koito: JSON.stringify({
    version: "1",
    listens: each((n, at) => ({
      listened_at: second(at),
      track: aliases(`Koito ${n}`),
      artists: [{ is_primary: true, ...aliases("K") }],
    })),
  }),
  playlog: lines(
    each((n, at) => ({
      source: "manual",
      sourceKey: n.toString(16).padStart(32, "0"),
      playedAt: iso(at),
      precision: "second",
      track: { title: `Own ${n}` },
      artist: { name: "O" },
    })),
  ),
  "youtube-json": json(
    each((n, at) => youtubeActivity({ title: `Watched Tube ${n}`, url: videoUrl(n), time: iso(at) })),
  ),
  "youtube-html": page(
    each((n, at) =>
      entry({ title: `Page ${n}`, url: videoUrl(n), time: `Mar 1, 2022, ${iso(at).slice(11, 19)} AM UTC` }),
    ),
  ),
};
const UPLOAD = zip(Object.entries(FILES).map(([name, data]) => ({ name, data })));
const OPTIONS = { filename: "everything.zip", batchRows: BATCH };

describe("an upload of every format", function () {
  this.timeout(20_000);
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
  const pool = () => db.database.pool;
  const partsOf = async (id: string) =>
    (
      await pool().query<{ name: string; format: string; read: number; inserted: number; skipped: number }>(
        "select name, format, read, inserted, skipped from import_parts where job_id = $1 order by part_no",
        [id],
      )
    ).rows;

  it("is known by content; foretold, broken off, paused, resumed, cancelled and retried it comes to the same; an undo leaves nothing", async () => {
    const calm = await insertUser(pool());
    const undisturbed = await bench.job(calm, UPLOAD, OPTIONS);
    await bench.run(undisturbed);
    const counts = await countsOfJob(pool(), undisturbed);
    expect(counts.status).to.equal("completed");
    const parts = await partsOf(undisturbed);
    expect(parts.map(({ format }) => format)).to.have.members(FORMATS.map(({ name }) => name));
    for (const { name, format, read, inserted, skipped } of parts) {
      expect(format).to.equal(name);
      expect([read, inserted + skipped], name).to.deep.equal([ROWS, ROWS]);
    }

    const user = await insertUser(pool());
    const dry = await bench.job(user, UPLOAD, { ...OPTIONS, dryRun: true });
    await bench.run(dry);
    expect(await countsOfJob(pool(), dry)).to.deep.equal(counts);
    expect(await partsOf(dry)).to.deep.equal(parts);
    expect((await digestOf(pool(), user)).rows).to.equal(0);

    const id = await bench.job(user, UPLOAD, OPTIONS);
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    const open = await bench.steps.openParts(ref, -1, 100);
    const breaking = await createBench(pool(), {
      blobs: bench.blobs,
      onCommit: (_, moment) => {
        if (moment === "after-commit") throw new Error("broken off");
      },
    });
    for (const part of open)
      expect(await rejection(breaking.steps.importPart(ref, part, breaking.context()))).to.include({
        message: "broken off",
      });
    await pauseJob(pool(), user, id);
    for (const part of open)
      expect(await bench.steps.importPart(ref, part, bench.context())).to.include({
        status: "paused",
        read: BATCH,
      });
    await resumeJob(pool(), user, id);
    await cancelJob(pool(), user, id, 7);
    for (const part of open)
      expect(await bench.steps.importPart(ref, part, bench.context())).to.include({ status: "stopped" });
    await bench.steps.finish(ref, { outcome: "cancelled" });
    expect(await countsOfJob(pool(), id)).to.include({ status: "cancelled", read: BATCH * open.length });

    await retryJob(pool(), user, id);
    expect(await bench.run(id, 2)).to.equal("completed");
    expect(await countsOfJob(pool(), id)).to.deep.equal(counts);
    expect(await digestOf(pool(), user)).to.deep.equal(await digestOf(pool(), calm));

    await undoJob(pool(), user, id);
    await bench.steps.undo(id, bench.context());
    expect((await digestOf(pool(), user)).rows).to.equal(0);
    await breaking.close();
  });

  it("keeps to the range that is asked for, play by play", async () => {
    const options = {
      from: iso(FIRST + 25 * MINUTE),
      until: iso(FIRST + 75 * MINUTE),
      includeIncognito: false,
    };
    const id = await bench.job(await insertUser(pool()), UPLOAD, { ...OPTIONS, options });
    expect(await bench.run(id)).to.equal("completed");
    for (const { name, read, inserted, skipped } of await partsOf(id)) {
      const within = /^apple-(?!activity)/.test(name) ? 0 : 3;
      expect([read, inserted, skipped], name).to.deep.equal([ROWS, within, ROWS - within]);
    }
  });
});
