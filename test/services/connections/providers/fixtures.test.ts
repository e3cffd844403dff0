import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect } from "chai";
import { json } from "../../../support/providers/exchange.js";
import { type StandIn, startStandIn } from "../../../support/providers/standIn.js";
import { accessOf, providerOf, sync } from "./reading.js";

/** Real answers of the providers, kept beside the repository because they are not ours to publish. */
const FIXTURES = path.resolve(import.meta.dirname, "../../../../../shared/fixtures/live-api");

describe("real answers of providers", function () {
  let standIn: StandIn;

  before(async function () {
    if (!existsSync(FIXTURES)) {
      console.warn(`      SKIPPED: no real answers in ${FIXTURES}`);
      this.skip();
    }
    standIn = await startStandIn();
  });
  beforeEach(() => standIn.reset());
  after(() => standIn?.stop());

  const answer = async (name: string) =>
    json(200, JSON.parse(await readFile(path.join(FIXTURES, name), "utf8")));

  it("of Spotify: fifty plays, which began their length before they ended", async () => {
    standIn.next("/v1/me/player", await answer("spotify-recently-played-50.json"));
    const access = accessOf("ada", standIn.spotify.oauth.issue().accessToken);
    const { plays, verdicts, cursor, keys } = await sync(providerOf(standIn, "spotify"), access);
    expect(verdicts).to.have.length(50);
    expect(plays).to.have.length(50);
    expect(new Set(keys).size).to.equal(50);
    expect(cursor).to.deep.equal({ newest: Date.parse("2019-10-04T17:00:24.087Z") });
    for (const { playedAt, endedAt, durationMs, startEarliest, startLatest } of plays) {
      expect(playedAt).to.equal((endedAt ?? 0) - (durationMs ?? 0));
      expect(playedAt).to.be.within(startEarliest, startLatest);
    }
  });

  it("of Apple Music: two songs, known from then on", async () => {
    const page = await answer("apple-recent-played-tracks.json");
    const apple = providerOf(standIn, "apple");
    const access = accessOf("apple-1", "user-token");
    standIn.apple.played.set("user-token", []);
    const { cursor: empty } = await sync(apple, access);
    standIn.next("/v1/me/recent", page);
    standIn.next("/v1/me/recent", json(200, { data: [] }));
    const { plays, cursor } = await sync(apple, access, { cursor: empty });
    expect(plays.map(({ title, artist }) => [title, artist])).to.deep.equal([
      ["City Ports", "Forss"],
      ["Walking On a Dream", "Empire of the Sun"],
    ]);
    expect(cursor?.["list"]).to.deep.equal(["7018167", "712862708"]);
  });
});
