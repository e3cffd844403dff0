import { expect } from "chai";
import { ProviderError, ReauthNeededError } from "../../../../services/connections/errors.js";
import { spotifyLive } from "../../../../services/connections/providers/spotify.js";
import type { SyncAccess } from "../../../../services/connections/providers/types.js";
import { json } from "../../../support/providers/exchange.js";
import { spotifyItem, type SpotifyPlay } from "../../../support/providers/spotify.js";
import { type StandIn, startStandIn } from "../../../support/providers/standIn.js";
import { rejection } from "../../../support/rejection.js";
import { accessOf, providerOf, sync } from "./reading.js";

const MINUTE = 60_000;
const START = Date.UTC(2026, 0, 5, 12, 0, 0, 123);

const heard = (n: number, playedAt = START + n * 4 * MINUTE): SpotifyPlay => ({
  id: String(n).padStart(22, "0"),
  title: `Song ${n}`,
  artist: "Somebody",
  durationMs: 3 * MINUTE,
  playedAt,
});
const from = (first: number, count: number): SpotifyPlay[] =>
  Array.from({ length: count }, (_, index) => heard(first + index));

describe("plays out of Spotify's Web API", () => {
  let standIn: StandIn;
  let access: SyncAccess;
  const PATH = "/v1/me/player/recently-played";

  before(async () => {
    standIn = await startStandIn();
    access = accessOf("ada", standIn.spotify.oauth.issue("ada").accessToken);
  });
  beforeEach(() => standIn.reset());
  after(() => standIn.stop());

  const spotify = () => providerOf(standIn, "spotify");

  it("ended at played_at, and may have begun earlier than their length says", async () => {
    standIn.spotify.plays.set("ada", [heard(1)]);
    const { plays } = await sync(spotify(), access);
    expect(plays).to.have.length(1);
    const end = START + 4 * MINUTE;
    expect(plays[0]).to.deep.include({
      source: "spotify-live",
      endedAt: end,
      playedAt: end - 3 * MINUTE,
      startEarliest: end - 13 * MINUTE,
      startLatest: end,
      msPlayed: null,
      counted: true,
      artist: "Somebody",
      trackId: { provider: "spotify", id: "0000000000000000000001" },
    });
  });

  it("are asked for from two hours before the newest known one on, in milliseconds", async () => {
    standIn.spotify.plays.set("ada", from(1, 10));
    const first = await sync(spotify(), access);
    expect(first.keys).to.have.length(10);
    const newest = heard(10).playedAt;
    expect(first.cursor).to.deep.equal({ newest });

    // One that a phone without a connection hands in late.
    const late = { ...heard(70), playedAt: newest - 90 * MINUTE };
    standIn.spotify.plays.set("ada", [...from(1, 12), late]);
    standIn.reset();
    const second = await sync(spotify(), access, { cursor: first.cursor });
    expect(standIn.seen[0]?.url.searchParams.get("after")).to.equal(String(newest - 120 * MINUTE));
    const added = second.keys.filter((key) => !first.keys.includes(key));
    expect(added).to.have.length(3);
    expect([...first.gaps, ...second.gaps]).to.deep.equal([]);
  });

  it("leave a gap that is said when fifty of them are all newer than the last sync", async () => {
    standIn.spotify.plays.set("ada", from(1, 10));
    const first = await sync(spotify(), access);
    standIn.spotify.plays.set("ada", from(1, 59));
    const touching = await sync(spotify(), access, { cursor: first.cursor });
    expect(touching.gaps).to.deep.equal([]);
    standIn.spotify.plays.set("ada", from(1, 61));
    const second = await sync(spotify(), access, { cursor: first.cursor });
    expect(second.gaps).to.deep.equal([{ from: heard(10).playedAt, until: heard(12).playedAt }]);
    expect(second.plays).to.have.length(50);
    // The address of a next page, which they all name, is the provider's to choose: it is not followed.
    expect(standIn.seen.map(({ url }) => url.pathname)).to.deep.equal([PATH, PATH, PATH]);
  });

  it("are nothing where nothing was played since, and the place is kept", async () => {
    standIn.spotify.plays.set("ada", []);
    const { cursor, plays, pages } = await sync(spotify(), access, { cursor: { newest: START } });
    expect({ cursor, plays, pages }).to.deep.equal({ cursor: { newest: START }, plays: [], pages: 1 });
    // Of an account that has never played anything: else the next page would tell of a gap since 1970.
    const first = await sync(spotify(), access, { polledAt: START });
    expect(first.cursor).to.deep.equal({ newest: START });
  });

  it("come with a fresh token when the old one is refused once, and need the user when that is too", async () => {
    standIn.spotify.plays.set("ada", [heard(1)]);
    const asked: (string | undefined)[] = [];
    const good = (await access.token()) ?? "";
    const renewing: SyncAccess = {
      ...access,
      token: (refused) => {
        asked.push(refused);
        return Promise.resolve(refused === undefined ? "an old one" : good);
      },
    };
    expect((await sync(spotify(), renewing)).plays).to.have.length(1);
    expect(asked).to.deep.equal([undefined, "an old one"]);

    standIn.always(PATH, json(401, {}));
    expect(await rejection(sync(spotify(), access))).to.be.instanceOf(ReauthNeededError);
    standIn.reset();
    standIn.next(PATH, json(403, { error: { status: 403 } }));
    const forbidden = await rejection(sync(spotify(), access));
    expect(forbidden).to.be.instanceOf(ProviderError).that.has.property("retryable", false);
  });

  it("are judged one by one", () => {
    const context = { name: "spotify-live", includeIncognito: false, now: START };
    const verdict = (change: object, track: object | null = {}): string => {
      const item = spotifyItem(heard(0));
      const changed = { ...item, ...change, track: track === null ? null : { ...item.track, ...track } };
      const judged = spotifyLive.judge(changed, context);
      return judged.verdict === "play" ? "play" : judged.reason;
    };
    expect(verdict({})).to.equal("play");
    expect(verdict({}, null)).to.equal("removed");
    expect(verdict({}, { type: "episode" })).to.equal("podcast");
    expect(verdict({}, { uri: "spotify:local:a:b:c:1" })).to.equal("missing_field");
    expect(verdict({}, { name: "a\0b" })).to.equal("text_nul");
    expect(verdict({}, { artists: [] })).to.equal("missing_field");
    expect(verdict({}, { duration_ms: -1 })).to.equal("bad_number");
    expect(verdict({ played_at: "yesterday" })).to.equal("bad_time");
    expect(verdict({ played_at: new Date(START + 70 * MINUTE).toISOString() })).to.equal("time_out_of_range");
    expect(spotifyLive.judge("text", context)).to.have.property("reason", "malformed");
    expect(spotifyLive.excerpt(spotifyItem(heard(0))))
      .to.include("Song 0")
      .and.not.include("context");
  });
});
