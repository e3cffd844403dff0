import { expect } from "chai";
import { ProviderError } from "../../../../services/connections/errors.js";
import { lastfmPages } from "../../../../services/import/formats/lastfm.js";
import { listenbrainz } from "../../../../services/import/formats/listenbrainz.js";
import type { ImportFormat } from "../../../../services/import/types.js";
import { json } from "../../../support/providers/exchange.js";
import { lastfmTrack, listen, type Scrobble } from "../../../support/providers/scrobblers.js";
import { type StandIn, startStandIn } from "../../../support/providers/standIn.js";
import { rejection } from "../../../support/rejection.js";
import { accessOf, keyOf, providerOf, sync } from "./reading.js";

const START = Date.UTC(2025, 0, 1) / 1000;
const NOW = Date.UTC(2026, 0, 1);
const polled = { polledAt: NOW };

/** Several share a second, as players that hand in whole albums make them. */
const scrobbles = (count: number, first = 0): Scrobble[] =>
  Array.from({ length: count }, (_, index) => {
    const n = first + index;
    return { title: `Song ${n}`, artist: "Somebody", at: START + Math.floor(n / 3) * 300 };
  });

const keysInFile = (format: ImportFormat, records: readonly unknown[]): string[] =>
  records.map((record) => {
    const judged = format.judge(record, { name: "export", includeIncognito: false, now: NOW });
    if (judged.verdict !== "play") throw new Error(judged.reason);
    return keyOf(judged.play);
  });

const distinct = (keys: readonly string[]): string[] => [...new Set(keys)];

/** Counts, because the difference of two long lists takes minutes to print. */
function expectSame(keys: readonly string[], expected: readonly string[]): void {
  const [got, wanted] = [new Set(keys), new Set(expected)];
  const missing = distinct(expected).filter((key) => !got.has(key)).length;
  const tooMany = distinct(keys).filter((key) => !wanted.has(key)).length;
  expect({ missing, tooMany }).to.deep.equal({ missing: 0, tooMany: 0 });
}

describe("scrobbles out of an API", () => {
  let standIn: StandIn;

  before(async () => {
    standIn = await startStandIn();
  });
  beforeEach(() => standIn.reset());
  after(() => standIn.stop());

  const kinds = [
    {
      name: "listenbrainz" as const,
      page: 1000,
      path: "/1/user/",
      bound: "max_ts",
      hold: (plays: Scrobble[]) => standIn.listenbrainz.listens.set("ada", plays),
      inFile: (plays: readonly Scrobble[]) => keysInFile(listenbrainz, plays.map(listen)),
    },
    {
      name: "lastfm" as const,
      page: 200,
      path: "/2.0/",
      bound: "to",
      hold: (plays: Scrobble[]) => standIn.lastfm.scrobbles.set("ada", plays),
      inFile: (plays: readonly Scrobble[]) => keysInFile(lastfmPages, plays.map(lastfmTrack)),
    },
  ];

  for (const { name, page, path, bound, hold, inFile } of kinds) {
    describe(name, () => {
      it("are all there, once, under the keys of a file of the same scrobbles", async () => {
        const all = scrobbles(page * 2 + page / 2 + 1);
        hold(all);
        const { keys, verdicts, pages, cursor, gaps } = await sync(
          providerOf(standIn, name),
          accessOf("ada"),
          polled,
        );
        expectSame(keys, inFile(all));
        expect(distinct(keys)).to.have.length(all.length);
        expect(verdicts.every(({ verdict }) => verdict === "play")).to.equal(true);
        expect(pages).to.equal(3);
        expect(standIn.seen).to.have.length(3);
        expect(gaps).to.deep.equal([]);
        expect(cursor).to.deep.equal({ newest: all.at(-1)!.at, walk: null });
      });

      it("go on where a walk was interrupted, though new ones came in meanwhile", async () => {
        const all = scrobbles(page * 3);
        hold(all.slice(0, -10));
        const provider = providerOf(standIn, name);
        const first = await sync(provider, accessOf("ada"), { ...polled, pages: 1 });
        hold(all);
        const second = await sync(provider, accessOf("ada"), { ...polled, cursor: first.cursor });
        const third = await sync(provider, accessOf("ada"), { ...polled, cursor: second.cursor });
        expectSame([...first.keys, ...second.keys, ...third.keys], inFile(all));
        expect(distinct([...first.keys, ...second.keys])).to.have.length(all.length - 10);
      });

      it("are few requests when little is new, and none is missed when much is", async () => {
        const all = scrobbles(page * 4);
        hold(all.slice(0, page + 1));
        const provider = providerOf(standIn, name);
        const first = await sync(provider, accessOf("ada"), polled);
        standIn.reset();
        hold(all.slice(0, page + 3));
        const second = await sync(provider, accessOf("ada"), { ...polled, cursor: first.cursor });
        expect(standIn.seen).to.have.length(1);
        expect(second.keys.length).to.be.below(page);
        hold(all);
        const third = await sync(provider, accessOf("ada"), { ...polled, cursor: second.cursor });
        expectSame([...first.keys, ...second.keys, ...third.keys], inFile(all));
      });

      it("of a range are all there, and the rest of a long history is not asked for", async () => {
        const all = scrobbles(page * 6);
        hold(all);
        const [from, until] = [all[page]!.at, all[page * 2 + 7]!.at];
        const within = all.filter(({ at }) => at >= from && at < until);
        const range = { from: from * 1000, until: until * 1000 };
        const { plays, pages } = await sync(providerOf(standIn, name), accessOf("ada"), { ...polled, range });
        const wanted = plays.filter(({ playedAt }) => playedAt >= range.from && playedAt < range.until);
        expectSame(wanted.map(keyOf), inFile(within));
        expect(pages).to.equal(2);
      });

      it("say which second holds more of them than can be read", async () => {
        const at = START + 500;
        const crowd = Array.from({ length: page + 50 }, (_, n) => ({
          title: `Song ${n}`,
          artist: "Somebody",
          at,
        }));
        hold([...scrobbles(5), ...crowd, { title: "Last", artist: "Somebody", at: START + 900 }]);
        const { keys, gaps } = await sync(providerOf(standIn, name), accessOf("ada"), polled);
        expect(gaps).to.deep.equal([{ from: at * 1000, until: (at + 1) * 1000 }]);
        for (const key of inFile(scrobbles(5))) expect(keys).to.include(key);
      });

      it("end a walk that gets the same page again and again", async () => {
        const same =
          name === "lastfm"
            ? { recenttracks: { track: scrobbles(page).map(lastfmTrack), "@attr": { totalPages: "9" } } }
            : { payload: { listens: scrobbles(page).map(listen), oldest_listen_ts: 1 } };
        standIn.always(path, json(200, same));
        const error = await rejection(sync(providerOf(standIn, name), accessOf("ada"), polled));
        expect(error).to.be.instanceOf(ProviderError).that.has.property("retryable", false);
        expect((error as Error).message).to.include("same plays again");
        expect(standIn.seen).to.have.length(2);
      });

      it("do not let one scrobble of next year hide those of today", async () => {
        const provider = providerOf(standIn, name);
        const ahead = { title: "Ahead", artist: "Somebody", at: NOW / 1000 + 31_536_000 };
        hold([...scrobbles(3), ahead]);
        const first = await sync(provider, accessOf("ada"), polled);
        expect(first.verdicts.filter(({ verdict }) => verdict === "rejected")).to.have.length(1);
        hold([...scrobbles(6), ahead]);
        const second = await sync(provider, accessOf("ada"), { ...polled, cursor: first.cursor });
        expect(distinct([...first.keys, ...second.keys])).to.have.length(6);
      });

      it("begin again with a cursor that makes no sense", async () => {
        hold(scrobbles(4));
        const cursor = { newest: "long ago", walk: { [bound]: -1 } };
        expect(
          (await sync(providerOf(standIn, name), accessOf("ada"), { ...polled, cursor })).keys,
        ).to.have.length(4);
      });

      it("of an account that has none, or is gone", async () => {
        hold([]);
        const { cursor, plays } = await sync(providerOf(standIn, name), accessOf("ada"), polled);
        expect({ cursor, plays }).to.deep.equal({ cursor: { newest: null, walk: null }, plays: [] });
        const error = await rejection(sync(providerOf(standIn, name), accessOf("nobody"), polled));
        expect(error).to.be.instanceOf(ProviderError).that.has.property("retryable", false);
      });
    });
  }

  it("of Last.fm: the one being played is skipped as such", async () => {
    standIn.lastfm.scrobbles.set("ada", scrobbles(2));
    standIn.lastfm.playing.set("ada", { title: "Now", artist: "Somebody", at: 0 });
    const { verdicts, plays } = await sync(providerOf(standIn, "lastfm"), accessOf("ada"), polled);
    standIn.lastfm.playing.clear();
    expect(plays).to.have.length(2);
    expect(verdicts.find(({ verdict }) => verdict === "skipped")).to.have.property("reason", "now_playing");
  });

  it("of Last.fm: a single track comes alone instead of in a list", async () => {
    const recenttracks = { track: lastfmTrack(scrobbles(1)[0]!), "@attr": { totalPages: "1" } };
    standIn.next("/2.0/", json(200, { recenttracks }));
    const { plays } = await sync(providerOf(standIn, "lastfm"), accessOf("ada"), polled);
    expect(plays).to.have.length(1);
  });

  it("of Last.fm: its own numbers say what went wrong, whatever the status", async () => {
    const lastfm = providerOf(standIn, "lastfm");
    const tell = async (status: number, error: number): Promise<unknown> => {
      standIn.next("/2.0/", json(status, { error, message: "…" }));
      return rejection(sync(lastfm, accessOf("ada"), polled));
    };
    expect(await tell(200, 8)).to.have.property("retryable", true);
    expect(await tell(500, 11)).to.have.property("retryable", true);
    expect(await tell(403, 26)).to.have.property("retryable", false);
    expect(await tell(200, 29))
      .to.have.property("until")
      .that.is.above(Date.now() + 50_000);
    standIn.lastfm.hidden.add("ada");
    const hidden = await rejection(sync(providerOf(standIn, "lastfm"), accessOf("ada"), polled));
    standIn.lastfm.hidden.clear();
    expect((hidden as Error).message).to.include("privacy");
  });

  it("of ListenBrainz: are read with the token where there is one", async () => {
    standIn.listenbrainz.listens.set("ada", scrobbles(1));
    await sync(providerOf(standIn, "listenbrainz"), accessOf("ada", "a-token"), polled);
    await sync(providerOf(standIn, "listenbrainz"), accessOf("ada"), polled);
    expect(standIn.seen.map(({ headers }) => headers.authorization)).to.deep.equal([
      "Token a-token",
      undefined,
    ]);
  });
});
