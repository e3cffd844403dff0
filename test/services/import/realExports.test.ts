import { expect } from "chai";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { zip } from "../../support/zip.js";
import { createHostileBench, type HostileBench } from "./hostile/support.js";

/** Real export files, kept beside the repository because they are not ours to publish. */
const FIXTURES = path.resolve(import.meta.dirname, "../../../../shared/fixtures");

type Reasons = Readonly<Record<string, number>>;

/** What becomes of every row of a file; reasons that are not named are none. Spotify's files are in test/api/realExports.test.ts. */
interface Row {
  readonly file: string;
  readonly read: number;
  readonly inserted: number;
  readonly duplicate?: Reasons;
  readonly skipped?: Reasons;
  readonly rejected?: Reasons;
}

const ACTIVITY_OF_2021: Row = {
  file: "apple-music/2021-old-columns/Apple Music Play Activity.csv",
  read: 6059,
  inserted: 5001,
  duplicate: { same_row: 2 },
  // 481 totals of songs that are in no catalogue, 6 advertisements, 1 lyrics shown; videos, clips and streams; joined segments.
  skipped: { aggregate: 481, ad: 6, not_a_play: 1, video: 19, not_music: 4, continuation: 545 },
};

/** One row of the daily tracks stands for as many plays as it counts; one that counts none is no play. */
const SMALL: readonly Row[] = [
  { file: "apple-music/2024-modern/Apple Music Play Activity.csv", read: 9, inserted: 9 },
  {
    file: "apple-music/2024-modern/Apple Music - Play History Daily Tracks.csv",
    read: 163,
    inserted: 135,
    skipped: { not_a_play: 28 },
  },
  {
    file: "apple-music/2024-modern/Apple Music - Recently Played Tracks.csv",
    read: 40,
    inserted: 0,
    skipped: { aggregate: 40 },
  },
  {
    file: "apple-music/2020-au/Apple Music - Recently Played Tracks.csv",
    read: 200,
    inserted: 0,
    skipped: { aggregate: 200 },
  },
  {
    file: "youtube-takeout/tr-2025/watch-history.json",
    read: 920,
    inserted: 727,
    skipped: { not_music: 178, removed: 10, not_a_play: 5 },
  },
  { file: "youtube-takeout/us-2022/watch-history.json", read: 593, inserted: 593 },
  {
    file: "youtube-takeout/edge-6/watch-history.json",
    read: 6,
    inserted: 0,
    skipped: { ad: 2, not_music: 3, not_a_play: 1 },
  },
  {
    file: "youtube-takeout/in-2025-html/watch-history.html",
    read: 282,
    inserted: 125,
    skipped: { not_music: 121, ad: 28, not_a_play: 5, removed: 3 },
  },
  { file: "listenbrainz/listenbrainz_shoko1_1749780844.zip", read: 5, inserted: 5 },
  { file: "lastfm/ghan-json/recenttracks-shoko2-1749776100.json", read: 10, inserted: 10 },
  { file: "maloja/maloja_import_test.json", read: 38, inserted: 38 },
  { file: "koito/koito_export_test.json", read: 13, inserted: 13 },
];

const LARGE: readonly Row[] = [
  ACTIVITY_OF_2021,
  {
    file: "apple-music/2020-au/Apple Music Library Tracks.json",
    read: 2069,
    inserted: 0,
    skipped: { aggregate: 2069 },
  },
  {
    file: "apple-music/2025-track-history/Apple Music - Track Play History.csv",
    read: 24_719,
    inserted: 0,
    skipped: { aggregate: 24_719 },
  },
  { file: "lastfm/ghan-csv/recenttracks.csv", read: 11_622, inserted: 11_622 },
  // One scrobble is there twice, second and names alike.
  {
    file: "lastfm/custom-csv-offset/ts_scrobbles.csv",
    read: 25_078,
    inserted: 25_077,
    duplicate: { same_row: 1 },
  },
];

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const total = (reasons: Reasons = {}): number => sum(Object.values(reasons));

describe("real exports of Apple Music, YouTube, Last.fm, ListenBrainz, Maloja and Koito", function () {
  this.timeout(60_000);
  let db: TestDatabase;
  let bench: HostileBench;
  before(async function () {
    if (!existsSync(FIXTURES)) {
      console.error(`skipped: no real export files at ${FIXTURES}`);
      this.skip();
    }
    db = await createTestDatabase();
    bench = await createHostileBench(db.database.pool);
  });
  after(async () => {
    await (bench as HostileBench | undefined)?.close();
    await (db as TestDatabase | undefined)?.drop();
  });

  const read = (file: string): Promise<Buffer> => readFile(path.join(FIXTURES, file));
  const reasonsOf = async (id: string): Promise<unknown> =>
    (
      await db.database.pool.query<{ reasons: unknown }>(
        "select totals->'reasons' as reasons from import_jobs where id = $1",
        [id],
      )
    ).rows[0]?.reasons;

  for (const { file, read: rows, inserted, duplicate, skipped, rejected } of [...SMALL, ...LARGE]) {
    it(`accounts for all ${rows} rows of ${file}`, async function () {
      if (!existsSync(path.join(FIXTURES, file))) this.skip();
      const job = await bench.run(await read(file), { filename: path.basename(file), batchRows: 10_000 });
      expect(job.status).to.equal("completed");
      expect(job.counts).to.deep.equal([rows, inserted, total(duplicate), total(skipped), total(rejected)]);
      expect(rows).to.equal(inserted + total(duplicate) + total(skipped) + total(rejected));
      expect(job.rows).to.equal(inserted);
      expect(await reasonsOf(job.id)).to.deep.equal({
        duplicate: duplicate ?? {},
        skipped: skipped ?? {},
        rejected: rejected ?? {},
      });
    });
  }

  it("gives the same sum from one ZIP of many of them under foreign names", async function () {
    if (SMALL.some(({ file }) => !existsSync(path.join(FIXTURES, file)))) this.skip();
    const files = await Promise.all(
      SMALL.map(async ({ file }, index) => ({ name: `muziek/${index}`, data: await read(file) })),
    );
    const job = await bench.run(zip(files), { filename: "everything", batchRows: 10_000 });
    expect(job.status).to.equal("completed");
    const inserted = sum(SMALL.map((row) => row.inserted));
    const skipped = sum(SMALL.map((row) => total(row.skipped)));
    expect(job.counts).to.deep.equal([sum(SMALL.map((row) => row.read)), inserted, 0, skipped, 0]);
  });
});
