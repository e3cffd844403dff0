/**
 * A whole real history and what other services have of the same plays, uploaded in every order: each order to an api and a
 * worker with a database of their own, so that not even the catalogue is made by another.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { expect } from "chai";
import {
  accountDataOf,
  type Fields,
  lastfmOf,
  listenbrainzOf,
  ORDERS,
  REAL_HISTORY,
  uploadsOf,
} from "../../services/history/linking/copies.js";
import { createService } from "../service.js";

const NAMES = ["extended history", "account data", "scrobbles"];
/** Several batches for each file. */
const BATCH_ROWS = 1000;
/** Of what is missing or too much, in the message of a test that fails. */
const SHOWN = 5;

interface Counts {
  readonly read: number;
  readonly inserted: number;
  readonly duplicate: number;
  readonly skipped: number;
  readonly rejected: number;
}

interface History {
  /** By upload, in the order of `uploadsOf`; those that were not sent are missing. */
  readonly counts: ReadonlyMap<number, Counts>;
  /** What lists and statistics count: names, times and length of each play. */
  readonly counted: readonly string[];
  /** Which sighting follows which, by source keys. */
  readonly links: readonly string[];
}

const digestOf = (lines: readonly string[]): string =>
  createHash("sha256").update(lines.join("\n")).digest("hex");

function expectTheSame(lines: readonly string[], expected: readonly string[], what: string): void {
  const [found, wanted] = [new Set(lines), new Set(expected)];
  const missing = expected.filter((line) => !found.has(line)).slice(0, SHOWN);
  const tooMuch = lines.filter((line) => !wanted.has(line)).slice(0, SHOWN);
  expect({ missing, tooMuch }, what).to.deep.equal({ missing: [], tooMuch: [] });
  expect(digestOf(lines), what).to.equal(digestOf(expected));
}

describe("a whole history and its copies, in any order", function () {
  this.timeout(300_000);
  let records: readonly Fields[];
  let uploads: readonly Buffer[];
  let alone: History;
  let links: readonly string[] | undefined;

  before(async function () {
    if (!existsSync(REAL_HISTORY)) {
      console.log(`      skipped: ${REAL_HISTORY} is not there`);
      return this.skip();
    }
    records = JSON.parse(await readFile(REAL_HISTORY, "utf8")) as readonly Fields[];
    uploads = uploadsOf(records);
    alone = await historyAfter([0]);
  });

  async function historyAfter(order: readonly number[]): Promise<History> {
    const service = await createService({ env: { IMPORT_BATCH_ROWS: String(BATCH_ROWS) } });
    try {
      await Promise.all([service.startApi(), service.startWorker()]);
      const user = await service.user();
      const counts = new Map<number, Counts>();
      for (const index of order) {
        const { status, totals } = await service.closed(await service.accept(user, uploads[index]!), 120_000);
        expect(status).to.equal("completed");
        counts.set(index, totals.counts as Counts);
      }
      const lines = async (sql: string): Promise<string[]> =>
        (await service.database.pool.query<{ line: string }>(sql, [user.id])).rows.map(({ line }) => line);
      return {
        counts,
        counted: await lines(
          `select concat_ws('|', h.source, h.played_at at time zone 'UTC', h.ms_played, t.title, a.name, b.title) as line
             from listening_history h
             join tracks t on t.id = h.track_id
             join artists a on a.id = h.artist_id
             left join albums b on b.id = h.album_id
            where h.user_id = $1 and h.counted and h.duplicate_of is null order by 1`,
        ),
        links: await lines(
          `select concat(encode(h.source_key, 'hex'), ' ', encode(l.source_key, 'hex')) as line
             from listening_history h join listening_history l on l.id = h.duplicate_of
            where h.user_id = $1 order by 1`,
        ),
      };
    } finally {
      await service.close();
    }
  }

  /** Everything that is read of an upload becomes a play, but for the podcasts of the extended history. */
  function expectedOf(index: number): Counts {
    const podcasts = records.filter(({ episode_name: name }) => typeof name === "string").length;
    const read = [
      records.length,
      // Of plays that end in one minute and are equal in all else, the account data has one.
      accountDataOf(records).length,
      // Scrobblers take no skips: what was heard for less than half a minute.
      lastfmOf(records).length + listenbrainzOf(records).length,
    ][index]!;
    const skipped = index === 0 ? podcasts : 0;
    return { read, inserted: read - skipped, duplicate: 0, skipped, rejected: 0 };
  }

  it("is a history with repeats, skips and podcasts, of which the rest counts", () => {
    expect(alone.counts.get(0)).to.include({ ...expectedOf(0), linked: 0 });
    expect(alone.links).to.deep.equal([]);
    const heard = lastfmOf(records).length;
    // Half a minute is what counts where nobody says how long a track is; scrobblers ask for the same.
    expect(alone.counted).to.have.length(heard);
    expect(expectedOf(0)).to.deep.equal({
      read: 2570,
      inserted: 2557,
      duplicate: 0,
      skipped: 13,
      rejected: 0,
    });
    expect([expectedOf(1).read, expectedOf(2).read, heard]).to.deep.equal([2556, 4008, 2004]);
  });

  for (const order of ORDERS) {
    it(`counts the same plays after ${order.map((index) => NAMES[index]).join(", then ")}`, async () => {
      const history = await historyAfter(order);
      for (const index of order) expect(history.counts.get(index)).to.include(expectedOf(index));
      expectTheSame(history.counted, alone.counted, "plays that count");
      // Each row of the poorer sources follows a play, and always the same one.
      expect(history.links).to.have.length(expectedOf(1).inserted + expectedOf(2).inserted);
      links ??= history.links;
      expectTheSame(history.links, links, "links");
    });
  }
});
