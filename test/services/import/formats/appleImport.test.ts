import { createReadStream, existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect } from "chai";
import { appleTrackHistory } from "../../../../services/import/formats/appleLookUps.js";
import { readRecords } from "../../../../services/import/reading/records.js";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { insertUser } from "../../../support/users.js";
import { zip } from "../../../support/zip.js";
import { countsOfJob, createBench, digestOf } from "../importing.js";
import type { ImportBench, JobOptions } from "../importing.js";
import { activity, csv, daily } from "./appleRows.js";
import type { Cells } from "./appleRows.js";

/** Real export files, kept beside the repository because they are not ours to publish. */
const FIXTURES = path.resolve(import.meta.dirname, "../../../../../shared/fixtures/apple-music");

interface Expected {
  readonly format: string;
  readonly read: number;
  readonly inserted: number;
  readonly reasons: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

const none = { duplicate: {}, rejected: {} };
const totals = (format: string, read: number): Expected => ({
  format,
  read,
  inserted: 0,
  reasons: { ...none, skipped: { aggregate: read } },
});

const REAL: Readonly<Record<string, Expected>> = {
  "2021-old-columns/Apple Music Play Activity.csv": {
    format: "apple-activity",
    read: 6059,
    inserted: 5001,
    reasons: {
      duplicate: { same_row: 2 },
      rejected: {},
      skipped: { ad: 6, video: 19, aggregate: 481, not_music: 4, not_a_play: 1, continuation: 545 },
    },
  },
  "2024-modern/Apple Music Play Activity.csv": {
    format: "apple-activity",
    read: 9,
    inserted: 9,
    reasons: { ...none, skipped: {} },
  },
  "2024-modern/Apple Music - Play History Daily Tracks.csv": {
    format: "apple-daily",
    read: 163,
    inserted: 135,
    reasons: { ...none, skipped: { not_a_play: 28 } },
  },
  "2024-modern/Apple Music - Recently Played Tracks.csv": totals("apple-recent", 40),
  "2020-au/Apple Music - Recently Played Tracks.csv": totals("apple-recent", 200),
  "2020-au/Apple Music Library Tracks.json": totals("apple-library", 2069),
};

const HISTORY = "2025-track-history/Apple Music - Track Play History.csv";

const MINUTE = 60_000;
const song = (n: number): string => `Song ${n % 40}`;

/** Every third listen is in two rows, and the file is in no order. */
function rows(count: number): Cells[] {
  const made = Array.from({ length: count }, (_, n): Cells[] => {
    const from = n * 10 * MINUTE;
    if (n % 3 !== 0) return [activity(song(n), from, from + 2 * MINUTE)];
    return [
      activity(song(n), from, from + MINUTE, { "End Reason Type": "PLAYBACK_MANUALLY_PAUSED" }),
      activity(song(n), from + 3 * MINUTE, from + 5 * MINUTE, { "Start Position In Milliseconds": MINUTE }),
    ];
  }).flat();
  return made.map((_, index) => made[(index * 7) % made.length]!);
}

const LIBRARY = Array.from({ length: 20 }, (_, n) => ({
  "Content Type": "Song",
  "Track Identifier": n,
  Title: song(n),
  Artist: `Artist ${n}`,
  Album: `Album of ${song(n)}`,
}));

const DAYS = Array.from({ length: 10 }, (_, n) => daily(`Artist ${n + 20} - ${song(n + 20)}`, n));

/** As Apple packs it: an archive in an archive, and the library in one of its own. */
function exported(activities: readonly Cells[]): Buffer {
  const folder = "Apple_Media_Services/Apple Music Activity";
  const library = zip([{ name: "Apple Music Library Tracks.json", data: JSON.stringify(LIBRARY) }]);
  const inner = zip([
    { name: `${folder}/Apple Music Play Activity.csv`, data: csv(activities) },
    { name: `${folder}/Apple Music - Play History Daily Tracks.csv`, data: csv(DAYS) },
    { name: `${folder}/Apple Music Library Tracks.json.zip`, data: library },
  ]);
  return zip([{ name: "Apple_Media_Services.zip", data: inner }]);
}

describe("importing Apple Music's export", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(pool());
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });
  const pool = () => db.database.pool;

  async function imported(upload: Buffer, options: JobOptions = {}) {
    const user = await insertUser(pool());
    const id = await bench.job(user, upload, options);
    await bench.run(id);
    return { user, id };
  }
  const artistsOf = async (user: string) =>
    (
      await pool().query<{ from: string | null; named: boolean; plays: number }>(
        `select h.context->>'artistFrom' as from, bool_and(a.name = 'Artist ' || substr(t.title, 6)) as named,
                count(*)::bigint as plays
           from listening_history h join tracks t on t.id = h.track_id join artists a on a.id = h.artist_id
          where h.user_id = $1 and h.source = 'apple-export' group by 1 order by 1`,
        [user],
      )
    ).rows;

  it("finds artists in the other files of the archive, whichever come first, and says that it inferred them", async () => {
    const { user, id } = await imported(exported(rows(60)));
    expect(await countsOfJob(pool(), id)).to.deep.equal({
      status: "completed",
      // 60 listens in 80 rows; 45 plays and a row with none in daily tracks; 20 songs of the library.
      read: 80 + 46 + 20,
      inserted: 60 + 45,
      duplicate: 0,
      skipped: 20 + 1 + 20,
      rejected: 0,
    });
    expect(await artistsOf(user)).to.deep.equal([
      { from: "daily-tracks", named: true, plays: 10 },
      { from: "library", named: true, plays: 40 },
      { from: "unknown", named: false, plays: 10 },
    ]);
    const alone = await imported(Buffer.from(csv(rows(60))), { filename: "activity.csv" });
    expect(await artistsOf(alone.user)).to.deep.equal([{ from: "unknown", named: false, plays: 60 }]);
  });

  it("keeps songs of one title on two albums apart while nobody knows whose they are", async () => {
    const intros = ["One", "Two"].map((album, n) =>
      activity("Intro", n * 10 * MINUTE, (n * 10 + 1) * MINUTE, { "Album Name": album }),
    );
    const { user } = await imported(
      zip([
        { name: "a", data: csv(intros) },
        { name: "b", data: csv([daily("Intro", 1)]) },
      ]),
    );
    const { rows: found } = await pool().query(
      `select a.name, count(distinct h.track_id)::integer as tracks from listening_history h
         join artists a on a.id = h.artist_id where h.user_id = $1 group by 1`,
      [user],
    );
    expect(found).to.deep.equal([{ name: "[unknown]", tracks: 3 }]);
  });

  it("adds nothing when a newer export of the same rows comes, in another order and with other artists known", async () => {
    const { user } = await imported(Buffer.from(csv(rows(60))));
    const before = await digestOf(pool(), user);
    const id = await bench.job(user, exported(rows(60).reverse()));
    await bench.run(id);
    expect(await countsOfJob(pool(), id)).to.include({ inserted: 45, duplicate: 60, rejected: 0 });
    await pool().query("delete from listening_history where user_id = $1 and source = 'apple-daily'", [user]);
    expect(await digestOf(pool(), user)).to.deep.equal(before);
  });

  it("gives the same rows when it is stopped at any batch, and foretells them in a dry run", async () => {
    const upload = exported(rows(90));
    const calm = await imported(upload, { batchRows: 25 });
    const dry = await imported(upload, { batchRows: 25, dryRun: true });
    const counts = await countsOfJob(pool(), calm.id);
    expect(await countsOfJob(pool(), dry.id)).to.deep.equal(counts);
    expect(await digestOf(pool(), dry.user)).to.include({ rows: 0 });

    const user = await insertUser(pool());
    const id = await bench.job(user, upload, { batchRows: 25 });
    const ref = { importId: id, attempt: 1 };
    let stops = 0;
    const dying = await createBench(pool(), {
      blobs: bench.blobs,
      onCommit: (_, moment) => {
        if (moment !== (stops % 2 === 0 ? "after-commit" : "before-commit")) return;
        stops += 1;
        throw new Error("the worker stops here");
      },
    });
    await bench.steps.prepare(ref, bench.context());
    const open = () => bench.steps.openParts(ref, -1, 10);
    for (let [part] = await open(); part !== undefined && stops < 6; [part] = await open())
      await dying.steps.importPart(ref, part, dying.context()).catch(() => undefined);
    expect(stops).to.equal(6);
    await bench.run(id);
    expect(await countsOfJob(pool(), id)).to.deep.equal(counts);
    expect(await digestOf(pool(), user)).to.deep.equal(await digestOf(pool(), calm.user));
    await dying.close();
  });

  it("says what is wrong with a file, and takes in what it can", async () => {
    const [header = "", ...lines] = csv(rows(30)).trim().split("\n");
    const cut = [header, ...lines.slice(0, 20), '"A song that'].join("\n");
    const short = [header, lines[0], "1,2,3", lines[1], ""].join("\n");
    const twice = [`${header},Song Name`, `${lines[0]},x`, ""].join("\n");
    const files = { cut, short, twice, semicolons: header.replaceAll(",", ";"), headerOnly: header };
    const upload = zip(Object.entries(files).map(([name, data]) => ({ name, data })));
    const { id } = await imported(upload);
    const parts = await pool().query<{
      name: string;
      status: string;
      error_code: string | null;
      read: number;
    }>("select name, status, error_code, read from import_parts where job_id = $1 order by part_no", [id]);
    expect(parts.rows).to.deep.equal([
      { name: "cut", status: "failed", error_code: "csv_unclosed_quote", read: 20 },
      { name: "short", status: "done", error_code: null, read: 3 },
      { name: "twice", status: "failed", error_code: "header", read: 0 },
      { name: "semicolons", status: "failed", error_code: "header", read: 0 },
      { name: "headerOnly", status: "skipped", error_code: "empty_file", read: 0 },
    ]);
    const rejected = await pool().query<{ reason: string; message: string; excerpt: string | null }>(
      "select reason, message, excerpt from import_rows where job_id = $1 and verdict = 'rejected'",
      [id],
    );
    expect(rejected.rows).to.deep.equal([
      { reason: "column_count", message: "Line 3 has 3 cells; the header has 19", excerpt: null },
    ]);
  });

  it("explains every row of real files", async function () {
    if (!existsSync(FIXTURES)) {
      console.log(`      ${FIXTURES} is not there: real Apple Music files are not tried`);
      this.skip();
    }
    const names = Object.keys(REAL);
    const files = await Promise.all(
      names.map(async (name) => ({ name, data: await readFile(path.join(FIXTURES, name)) })),
    );
    const { id } = await imported(zip(files), { batchRows: 100_000 });
    const found = await pool().query<Expected & { name: string }>(
      `select name, format, p.read, p.inserted, b.reasons
         from import_parts p join import_batches b using (job_id, part_no) where job_id = $1`,
      [id],
    );
    const byName = Object.fromEntries(found.rows.map(({ name, ...part }) => [name, part]));
    expect(byName).to.deep.equal(REAL);

    // So many totals take long to write down one by one.
    const history = createReadStream(path.join(FIXTURES, HISTORY));
    const outcomes: Record<string, number> = {};
    for await (const { records } of readRecords(history, {
      format: appleTrackHistory,
      recordMaxBytes: 65_536,
    }))
      for (const { value } of records) {
        const { verdict, ...rest } = appleTrackHistory.judge(value, {
          name: "",
          includeIncognito: false,
          now: 0,
        });
        const outcome = "reason" in rest ? `${verdict}: ${rest.reason}` : verdict;
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      }
    expect(outcomes).to.deep.equal({ "skipped: aggregate": 24_719 });
  });
});
