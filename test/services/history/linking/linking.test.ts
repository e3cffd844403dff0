import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { expect } from "chai";
import { json, play } from "../../import/importing.js";
import {
  accountDataOf,
  type Fields,
  lastfmOf,
  listenbrainzOf,
  ORDERS,
  REAL_HISTORY,
  uploadsOf,
} from "./copies.js";
import { createLinkBench, type LinkBench } from "./support.js";

const SLICE = 220;

type Records = readonly Fields[];

/** Plays with all that makes linking hard: repeats one after the other, skips, pauses, and names with guests. */
const SAMPLE: Records = Array.from({ length: 60 }, (_, n) => {
  const at = Date.UTC(2024, 0, 1) + n * 61_000;
  const ms = n % 5 === 0 ? 4000 : 60_000;
  const paused = n % 17 === 0 ? 20_000 : 0;
  return {
    ...play(n, {
      at: new Date(at + paused).toISOString().replace(".000", ""),
      ms,
      title: n % 2 === 0 ? "On Repeat" : `Track ${n % 9} (feat. Somebody)`,
      artist: n % 2 === 0 ? "Loop" : "Another",
      uri: `spotify:track:${String(n % 2 === 0 ? 99 : n % 9).padStart(22, "0")}`,
    }),
    offline_timestamp: Math.floor((at - ms) / 1000),
  };
});

describe("linking plays of several sources", function () {
  this.timeout(60_000);
  let all: LinkBench;
  before(async () => {
    all = await createLinkBench();
  });
  beforeEach(() => all.newUser());
  after(() => all.close());

  async function expectTheSameInAnyOrder(records: Records): Promise<void> {
    await all.imported(json(records));
    const alone = await all.counted();
    expect(await all.links()).to.deep.equal([]);
    const uploads = uploadsOf(records);
    const poorer = accountDataOf(records).length + lastfmOf(records).length + listenbrainzOf(records).length;
    let first: readonly string[] | undefined;
    for (const order of ORDERS) {
      await all.newUser();
      for (const index of order) await all.imported(uploads[index]);
      expect(await all.counted(), order.join()).to.deep.equal(alone);
      first ??= await all.links();
      expect(await all.links(), order.join()).to.deep.equal(first);
    }
    expect(first).to.have.length(poorer);
  }

  it("counts the plays of one person in four sources once, in whatever order they are imported", () =>
    expectTheSameInAnyOrder(SAMPLE));

  it("does so for a real history and copies that are derived from it", async function () {
    if (!existsSync(REAL_HISTORY)) {
      console.warn(`      skipped: ${REAL_HISTORY} is not there`);
      return this.skip();
    }
    const records = JSON.parse(await readFile(REAL_HISTORY, "utf8")) as Records;
    await expectTheSameInAnyOrder(records.slice(0, SLICE));
  });

  it("comes to the same when they are imported at one time", async () => {
    const uploads = uploadsOf(SAMPLE);
    for (const upload of uploads) await all.imported(upload);
    const [counted, links] = [await all.counted(), await all.links()];
    await all.newUser();
    await Promise.all(uploads.map((upload) => all.imported(upload, { batchRows: 10 })));
    expect(await all.counted()).to.deep.equal(counted);
    expect(await all.links()).to.deep.equal(links);
  });

  it("leaves exactly the second's plays, linked rightly, after an import, a dry run, another import and an undo of the first", async () => {
    const [extended, account, scrobbles] = uploadsOf(SAMPLE);
    await all.imported(scrobbles);
    const [counted, links] = [await all.counted(), await all.links()];

    await all.newUser();
    const first = await all.imported(extended);
    const before = [await all.counted(), await all.links()];
    const dry = await all.imported(account, { dryRun: true });
    expect(await all.countsOf(dry)).to.deep.equal({
      inserted: accountDataOf(SAMPLE).length,
      duplicate: 0,
      linked: 0,
    });
    expect([await all.counted(), await all.links()]).to.deep.equal(before);
    await all.imported(scrobbles);
    await all.undo(first);
    expect(await all.counted()).to.deep.equal(counted);
    expect(await all.links()).to.deep.equal(links);
    expect((await all.plays()).every(({ source }) => source !== "spotify-extended")).to.equal(true);
  });

  it("says how many of the plays inserted are sightings of others, for each file and in all", async () => {
    const [extended, account, scrobbles] = uploadsOf(SAMPLE);
    const lastfm = lastfmOf(SAMPLE).length;
    const listens = listenbrainzOf(SAMPLE).length;
    const job = await all.imported(scrobbles);
    expect(await all.countsOf(job)).to.deep.equal({
      inserted: lastfm + listens,
      duplicate: 0,
      linked: lastfm,
    });
    expect(await all.countsOf(await all.imported(extended))).to.include({ linked: 0 });
    const poorer = await all.imported(account);
    const { inserted, linked } = await all.countsOf(poorer);
    expect(linked).to.equal(inserted);
    const [{ totals } = { totals: 0 }] = await all.rows<{ totals: number }>(
      "select (totals -> 'counts' -> 'linked')::integer as totals from import_jobs where id = $1",
      poorer,
    );
    expect(totals).to.equal(linked);
    expect(
      await all.rows("select from import_jobs where user_id = $1 and link_pending", all.user),
    ).to.deep.equal([]);
  });
});
