import { expect } from "chai";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { createHostileBench, type HostileBench } from "../hostile/support.js";
import { json } from "../importing.js";
import { readAll } from "../reading/support.js";
import { activity, cell, entry, page, videoUrl } from "./youtubeSamples.js";

const HOUR = 3_600_000;
const FIRST = Date.parse("2022-01-01T00:00:00Z");

/** Plays of music, every tenth an ordinary video, in French: a language that only the whole file tells. */
const french = Array.from({ length: 250 }, (_, n) =>
  activity({
    title: `Tu as écouté ${["Solar", "Heart", "Air", "Judas", "Bop"][n % 5]} ${n}`,
    url: videoUrl(n % 20),
    channel: n % 10 === 9 ? "Somebody" : "Sault - Topic",
    header: n % 10 === 9 ? "YouTube" : "YouTube Music",
    time: new Date(FIRST + n * HOUR).toISOString(),
  }),
);
const watched = page([
  entry({ title: "Heart", time: "13.01.2024, 16:16:16 MEZ" }),
  entry({ title: "Heart", time: "13.01.2024, 16:16:16 MEZ" }),
  cell(
    "YouTube",
    "Nach <a href='https://www.youtube.com/results?q=x'>x</a> gesucht<br>13.01.2024, 16:10:00 MEZ<br>",
  ),
]);

async function takeout(): Promise<Buffer> {
  const packing = pack();
  packing.entry({ name: "Takeout/YouTube et YouTube Music/historique/watch-history.json" }, json(french));
  packing.entry({ name: "Takeout/YouTube und YouTube Music/Verlauf/Wiedergabeverlauf.html" }, watched);
  packing.entry({ name: "Takeout/archive_browser.html" }, "<html><body>Takeout</body></html>");
  const packed = readAll(packing as never);
  packing.finalize();
  return gzipSync(await packed);
}

describe("an export of YouTube, imported", () => {
  let db: TestDatabase;
  let hostile: HostileBench;
  before(async () => {
    db = await createTestDatabase();
    hostile = await createHostileBench(db.database.pool);
  });
  after(async () => {
    await hostile.close();
    await db.drop();
  });

  it("gives every play of a .tgz once, in whatever languages its files are, and the rest a reason", async () => {
    const outcome = await hostile.run(await takeout(), { filename: "takeout.tgz" });
    expect(outcome.parts).to.deep.equal([
      "takeout.tgz/Takeout/YouTube et YouTube Music/historique/watch-history.json: done",
      "takeout.tgz/Takeout/YouTube und YouTube Music/Verlauf/Wiedergabeverlauf.html: done",
      "takeout.tgz/Takeout/archive_browser.html: skipped unrecognised_format",
    ]);
    expect(outcome).to.deep.include({ status: "completed", counts: [253, 226, 1, 26, 0], rows: 226 });
    expect(outcome.ledger.filter((line) => line.endsWith("not_music"))).to.have.length(25);
    expect(outcome.ledger.filter((line) => line.endsWith("not_a_play"))).to.have.length(1);
    // The upload alone is left.
    expect(await hostile.spool()).to.have.length(1);
    const plays = await db.database.pool.query<{ source: string; title: string; artist: string; at: Date }>(
      `select h.source, t.title, a.name as artist, h.played_at as at
         from listening_history h join tracks t on t.id = h.track_id join artists a on a.id = h.artist_id
        where h.user_id = $1 and h.played_at >= $2 and h.source = 'youtube-html'
        union all
       (select h.source, t.title, a.name, h.played_at
         from listening_history h join tracks t on t.id = h.track_id join artists a on a.id = h.artist_id
        where h.user_id = $1 and h.source = 'youtube-json' order by h.played_at limit 1)`,
      [outcome.user, new Date(FIRST)],
    );
    expect(plays.rows).to.deep.equal([
      { source: "youtube-html", title: "Solar 0", artist: "Sault", at: new Date("2024-01-13T15:16:16Z") },
      { source: "youtube-json", title: "Solar 0", artist: "Sault", at: new Date(FIRST) },
    ]);
  });
});
