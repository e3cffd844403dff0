import { expect } from "chai";
import { createDatabase } from "../../../../db/knex.js";
import { primaryReads } from "../../../../db/replica.js";
import { inTransaction } from "../../../../db/transaction.js";
import { CatalogueService } from "../../../../services/catalog/CatalogueService.js";
import { HistoryEditor } from "../../../../services/history/HistoryEditor.js";
import { lockPlays } from "../../../../services/history/userPlays.js";
import { MOST_SIGHTINGS, relinkKeys } from "../../../../services/history/linking/relink.js";
import { linkImport } from "../../../../services/import/linking.js";
import { catchUpLinks } from "../../../../services/import/linkUpkeep.js";
import { databaseSettings } from "../../../support/database.js";
import { startStatementCounter } from "../../../support/statementCounter.js";
import { play } from "../../import/importing.js";
import { accountDataOf, lastfmOf, listenbrainzOf } from "./copies.js";
import { createLinkBench, type LinkBench } from "./support.js";

const ANY = (): void => undefined;
const START = Date.parse("2024-03-01T10:00:00Z");
const MINUTE = 60_000;

/** Three-minute plays of one track, one after the other. */
const loop = (count: number, title = "Loop", fromMinute = 0) =>
  Array.from({ length: count }, (_, n) => ({
    ...play(n, {
      at: new Date(START + (fromMinute + n * 3 + 3) * MINUTE).toISOString().replace(".000", ""),
      ms: 3 * MINUTE,
      title,
      artist: "Ada",
      uri: `spotify:track:${Buffer.from(title).toString("hex").padStart(22, "0").slice(0, 22)}`,
    }),
    offline_timestamp: START / 1000 + (fromMinute + n * 3) * 60,
  }));

describe("keeping links right", () => {
  let all: LinkBench;
  let editor: HistoryEditor;
  before(async () => {
    all = await createLinkBench();
    editor = new HistoryEditor({ pool: all.pool });
  });
  beforeEach(() => all.newUser());
  after(() => all.close());

  const idOf = async (source: string, n = 0): Promise<number> =>
    (await all.plays()).filter((each) => each.source === source)[n]!.id;
  const followedBy = async (source: string, n = 0): Promise<string | null> => {
    const plays = await all.plays();
    const { follows } = plays.filter((each) => each.source === source)[n]!;
    return follows === null ? null : plays.find(({ id }) => id === follows)!.source;
  };

  it("finds those that follow another leader when theirs is undone", async () => {
    const records = loop(3);
    const first = await all.imported(records);
    await all.imported(accountDataOf(records));
    await all.imported(lastfmOf(records));
    expect(await followedBy("spotify-account")).to.equal("spotify-extended");
    await all.undo(first);
    expect(await all.counted()).to.have.length(3);
    expect(await followedBy("spotify-account")).to.equal("lastfm");
    await all.imported(records);
    expect(await followedBy("lastfm", 2)).to.equal("spotify-extended");
  });

  it("links plays that somebody tells of, in front of all others, and again when they are corrected or deleted", async () => {
    await all.imported(lastfmOf(loop(2)));
    const track = {
      title: "Loop",
      artist: "Ada",
      album: null,
      durationMs: null,
      isrc: null,
      spotifyId: null,
    };
    const { id } = await editor.record(all.user, {
      path: "",
      playedAt: new Date(START),
      msPlayed: null,
      what: { track },
    });
    expect(await followedBy("lastfm")).to.equal("manual");
    expect(await followedBy("lastfm", 1)).to.equal(null);
    await editor.edit(all.user, id, { playedAt: new Date(START + 3 * MINUTE) }, ANY);
    expect(await followedBy("lastfm")).to.equal(null);
    expect(await followedBy("lastfm", 1)).to.equal("manual");
    const second = await idOf("lastfm", 1);
    await editor.edit(all.user, second, { what: { track: { ...track, title: "Another" } } }, ANY);
    expect(await followedBy("lastfm", 1)).to.equal(null);
    await editor.edit(all.user, second, { what: { track } }, ANY);
    expect(await followedBy("lastfm", 1)).to.equal("manual");
    await editor.remove(all.user, second, ANY);
    expect(await all.plays()).to.have.length(1);
  });

  it("never links again what its owner told apart: not by another import, an undo, nor a run over everything", async () => {
    const records = loop(1);
    const first = await all.imported(records);
    await all.imported(lastfmOf(records));
    const second = await all.imported(accountDataOf(records));
    const answer = JSON.parse(await editor.unlink(all.user, await idOf("spotify-account"), ANY)) as object;
    expect(answer).to.include({ source: "spotify-account", duplicateOf: null });
    await all.undo(second);
    await all.undo(first);
    await all.imported(accountDataOf(records));
    expect(await followedBy("spotify-account"), "nor with the other sighting of that play").to.equal(null);
    await all.imported(records);
    expect(await followedBy("spotify-account")).to.equal(null);
    expect(await followedBy("lastfm")).to.equal("spotify-extended");
    await all.imported(listenbrainzOf(records));
    expect(await all.counted()).to.have.length(2);
  });

  describe("when a play was deleted", () => {
    const verdictsOf = async (job: string) => {
      const { inserted, duplicate } = await all.countsOf(job);
      return { inserted, duplicate };
    };

    it("keeps it away when another source brings it, and the others of a loop not", async () => {
      const records = loop(4);
      await all.imported(records);
      await editor.remove(all.user, await idOf("spotify-extended", 1), ANY);
      const account = accountDataOf(records);
      const dry = await all.imported(account, { dryRun: true });
      expect(await verdictsOf(dry)).to.deep.equal({ inserted: 3, duplicate: 1 });
      expect(await verdictsOf(await all.imported(account))).to.deep.equal({ inserted: 3, duplicate: 1 });
      expect(await verdictsOf(await all.imported(account.toReversed()))).to.deep.equal({
        inserted: 0,
        duplicate: 4,
      });
      expect(await verdictsOf(await all.imported(lastfmOf(records), { batchRows: 1 }))).to.deep.equal({
        inserted: 3,
        duplicate: 1,
      });
      expect(await all.counted()).to.have.length(3);
      expect(await all.links()).to.have.length(6);
    });

    it("keeps it away from lists, brings it back at the word of its owner, and links it then", async () => {
      const records = loop(1);
      await all.imported(records);
      await editor.remove(all.user, await idOf("spotify-extended"), ANY);
      const told = {
        path: "",
        playedAt: new Date(START + 1000),
        msPlayed: null,
        what: {
          track: { title: "Loop", artist: "Ada", album: null, durationMs: null, isrc: null, spotifyId: null },
        },
      };
      expect(await editor.recordMany(all.user, [told])).to.deep.equal([{ status: "duplicate", id: null }]);
      expect((await editor.record(all.user, told)).created).to.equal(true);
      expect(await verdictsOf(await all.imported(lastfmOf(records)))).to.deep.equal({
        inserted: 1,
        duplicate: 0,
      });
      expect(await followedBy("lastfm")).to.equal("manual");
    });

    it("takes all sightings of it, those of another play between them not", async () => {
      const records = loop(2);
      await all.imported(records);
      await all.imported(lastfmOf(records));
      await all.imported(accountDataOf(records));
      await editor.remove(all.user, await idOf("lastfm", 1), ANY);
      expect((await all.plays()).map(({ source }) => source).sort()).to.deep.equal([
        "lastfm",
        "spotify-account",
        "spotify-extended",
      ]);
      expect(await followedBy("spotify-account")).to.equal("spotify-extended");
    });
  });

  it("is made up for by the worker when an import was closed before it came to it", async () => {
    const records = loop(2);
    await all.imported(records);
    const { bench } = all;
    const { steps } = bench;
    const id = await bench.job(all.user, Buffer.from(JSON.stringify(lastfmOf(records))));
    const ref = { importId: id, attempt: 1 };
    await steps.prepare(ref, bench.context());
    await steps.importPart(ref, 0, bench.context());
    await steps.finish(ref, { outcome: "cancelled" });
    expect(await all.links()).to.deep.equal([]);
    expect(await catchUpLinks(all.pool)).to.deep.equal({ imports: 1, histories: 0 });
    expect(await all.links()).to.have.length(2);
    const [closed] = await all.rows(
      "select status, (totals -> 'counts' -> 'linked')::integer as linked from import_jobs where id = $1",
      id,
    );
    expect(closed).to.deep.equal({ status: "cancelled", linked: 2 });
    expect(await catchUpLinks(all.pool)).to.deep.equal({ imports: 0, histories: 0 });
  });

  it("finds both sightings of a play that was paused for a week, whichever comes first", async () => {
    const records = loop(1, "Asleep").map((record) => ({
      ...record,
      offline_timestamp: START / 1000 + 3 * 60 - 7 * 24 * 60 * 60,
    }));
    const uploads = [records, accountDataOf(records)];
    for (const order of [uploads, uploads.toReversed()]) {
      await all.newUser();
      for (const upload of order) await all.imported(upload);
      expect(await all.links()).to.have.length(1);
    }
  });

  it("looks at the plays of a first import with one statement, and at none of one that was linked", async () => {
    const counter = await startStatementCounter(all.url);
    const database = createDatabase(databaseSettings(counter.url), {
      applicationName: "playlog-test-linking",
    });
    const work = { signal: new AbortController().signal, heartbeat: () => {} };
    const asked = (): string[] =>
      [...counter.counts.keys()].filter((text) => text.includes("listening_history"));
    try {
      const job = await all.imported(loop(3));
      await all.rows("update import_jobs set link_pending = true where id = $1", job);
      expect(await linkImport(database.pool, job, work)).to.deep.equal({ linked: 0 });
      expect(asked()).to.have.length(1);
      expect(counter.total()).to.be.at.most(6);
      counter.reset();
      expect(await linkImport(database.pool, job, work)).to.deep.equal({ linked: 0 });
      expect(asked()).to.deep.equal([]);
      expect(counter.total()).to.equal(1);
    } finally {
      await database.close();
      await counter.close();
    }
  });

  it("follows the names of tracks and artists that are corrected or merged", async () => {
    const catalogue = new CatalogueService({ pool: all.pool, reads: primaryReads(all.pool) });
    await all.imported(loop(2, "Right Name"));
    await all.imported(lastfmOf(loop(2, "Wrong Name")));
    expect(await all.links()).to.deep.equal([]);
    const trackOf = async (key: string): Promise<number> =>
      (await all.rows<{ id: number }>("select id from tracks where title_key = $1", key))[0]!.id;
    const [right, wrong] = [await trackOf("right name"), await trackOf("wrong name")];

    await catalogue.editTrack(wrong, { title: "Right Name (feat. Bob)" }, ANY);
    expect(await catchUpLinks(all.pool)).to.deep.equal({ imports: 0, histories: 1 });
    expect(await all.links()).to.have.length(2);
    await catalogue.editTrack(wrong, { title: "Wrong Name" }, ANY);
    await catchUpLinks(all.pool);
    expect(await all.links()).to.deep.equal([]);
    await catalogue.mergeTrack(wrong, right, ANY);
    expect(await catchUpLinks(all.pool)).to.deep.equal({ imports: 0, histories: 1 });
    expect(await all.links()).to.have.length(2);

    await all.imported(
      listenbrainzOf(
        loop(2, "Right Name").map((record) => ({
          ...record,
          master_metadata_album_artist_name: "Ada Lovelace",
        })),
      ),
    );
    expect(await all.links()).to.have.length(2);
    const artists = await all.rows<{ id: number }>(
      "select id from artists where name_key in ('ada', 'ada lovelace') order by name_key",
    );
    await catalogue.mergeArtist(artists[1]!.id, artists[0]!.id, ANY);
    await catchUpLinks(all.pool);
    expect(await all.links()).to.have.length(4);
    expect(await all.rows("select from link_changes")).to.deep.equal([]);
  });

  it("links nothing where one track was played more often than anybody can", async () => {
    await all.imported([...loop(1), ...loop(1, "Padding")]);
    await all.imported(lastfmOf(loop(1)));
    expect(await all.links()).to.have.length(1);
    await all.rows(
      `insert into listening_history (user_id, track_id, artist_id, played_at, start_earliest, start_latest, precision,
         source, counted, source_key)
       select h.user_id, h.track_id, h.artist_id, at, at, at, 'second', 'koito', true, int8send(n) || int8send(1)
         from listening_history h cross join generate_series(1::bigint, $2::bigint) n
         cross join lateral (select h.played_at + n * interval '1 minute') t (at)
        where h.user_id = $1 and h.source = 'lastfm'`,
      all.user,
      MOST_SIGHTINGS,
    );
    const changed = await inTransaction(all.pool, async (client) => {
      await lockPlays(client, all.user, "shared");
      return relinkKeys(client, all.user, ["ada\u001floop", "ada\u001fpadding", "nobody\u001fnothing"]);
    });
    expect(changed).to.equal(1);
    expect(await all.links()).to.deep.equal([]);
  });
});
