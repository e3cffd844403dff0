import { generateKeyPairSync } from "node:crypto";
import { expect } from "chai";
import jwt from "jsonwebtoken";
import { ProviderError, ReauthNeededError } from "../../../../services/connections/errors.js";
import { newAtTop } from "../../../../services/connections/providers/appleLists.js";
import { appleLive } from "../../../../services/connections/providers/appleLive.js";
import { developerTokens } from "../../../../services/connections/providers/appleToken.js";
import type { AppleSong } from "../../../support/providers/apple.js";
import { json } from "../../../support/providers/exchange.js";
import { type StandIn, startStandIn } from "../../../support/providers/standIn.js";
import { rejection } from "../../../support/rejection.js";
import { accessOf, providerOf, sync } from "./reading.js";

const MINUTE = 60_000;
const FIRST = Date.UTC(2026, 0, 5, 12);
const SECOND = FIRST + 30 * MINUTE;

const song = (n: number): AppleSong => ({
  id: String(1000 + n),
  title: `Song ${n}`,
  artist: "Somebody",
  durationMs: 4 * MINUTE,
});
/** The newest first. */
const songs = (newest: number, count: number): AppleSong[] =>
  Array.from({ length: count }, (_, index) => song(newest - index));

describe("plays out of Apple Music's list", () => {
  let standIn: StandIn;
  const access = accessOf("apple-1", "user-token");

  before(async () => {
    standIn = await startStandIn();
  });
  beforeEach(() => standIn.reset());
  after(() => standIn.stop());

  const show = (list: AppleSong[]) => standIn.apple.played.set("user-token", list);
  const poll = (polledAt: number, cursor: Parameters<typeof sync>[2] = {}) =>
    sync(providerOf(standIn, "apple"), access, { polledAt, ...cursor });

  it("are none at the first poll: all of the list is skipped, with the reason", async () => {
    show(songs(100, 80));
    const { verdicts, plays, gaps, pages } = await poll(FIRST);
    expect(plays).to.deep.equal([]);
    expect(verdicts).to.have.length(50);
    expect(verdicts[0]).to.deep.include({ verdict: "skipped", reason: "not_a_play" });
    expect([gaps, pages]).to.deep.equal([[], 2]);
    expect(standIn.seen.map(({ url }) => url.search)).to.deep.equal([
      "?limit=30&types=songs%2Clibrary-songs",
      "?limit=30&types=songs%2Clibrary-songs&offset=30",
    ]);
  });

  it("are inferred: the newest ended at the poll, each other before the next", async () => {
    show(songs(100, 50));
    const { cursor } = await poll(FIRST);
    show(songs(103, 53));
    const { plays, gaps, pages } = await poll(SECOND, { cursor });
    expect(plays.map(({ title }) => title)).to.deep.equal(["Song 103", "Song 102", "Song 101"]);
    expect(plays.map(({ playedAt }) => SECOND - playedAt)).to.deep.equal([
      4 * MINUTE,
      8 * MINUTE,
      12 * MINUTE,
    ]);
    expect(plays[0]).to.deep.include({
      source: "apple-live",
      precision: "inferred",
      startEarliest: FIRST - 4 * MINUTE,
      startLatest: SECOND,
      trackId: { provider: "apple", id: "1103" },
    });
    expect([gaps, pages]).to.deep.equal([[], 1]);
  });

  it("have keys of the poll and the place, so that the same page again is the same plays", async () => {
    show(songs(100, 50));
    const { cursor } = await poll(FIRST);
    show([song(101), ...songs(101, 51)]);
    const once = await poll(SECOND, { cursor });
    const again = await poll(SECOND, { cursor });
    expect(new Set(once.keys).size).to.equal(2);
    expect(again.keys).to.deep.equal(once.keys);
    expect((await poll(SECOND, { cursor: once.cursor })).plays).to.deep.equal([]);
  });

  it("leave a gap that is said when nothing of the list is known any more, two pages down", async () => {
    show(songs(100, 50));
    const { cursor } = await poll(FIRST);
    show(songs(200, 50));
    const { plays, gaps, pages } = await poll(SECOND, { cursor });
    expect(plays).to.have.length(50);
    expect(new Set(plays.map(({ title }) => title)).size).to.equal(50);
    expect(pages).to.equal(2);
    expect(gaps).to.have.length(1);
    expect(gaps[0]!.from).to.equal(FIRST);
    expect(plays.every(({ playedAt }) => playedAt >= FIRST - 4 * MINUTE && playedAt < SECOND)).to.equal(true);
  });

  it("all count when the list was empty before", async () => {
    show([]);
    const { cursor } = await poll(FIRST);
    show(songs(3, 2));
    const { plays, gaps } = await poll(SECOND, { cursor });
    expect([plays.length, gaps.length]).to.deep.equal([2, 0]);
  });

  it("need the user when Apple refuses the user token, and the operator when it refuses the other", async () => {
    expect(await rejection(sync(providerOf(standIn, "apple"), accessOf("x", "ended")))).to.be.instanceOf(
      ReauthNeededError,
    );
    standIn.next("/v1/me/recent", json(401, {}));
    const error = await rejection(poll(FIRST));
    expect(error).to.be.instanceOf(ProviderError).that.has.property("retryable", false);
  });

  it("are judged one by one", () => {
    const context = { name: "apple-live", includeIncognito: false, now: FIRST };
    const verdict = (item: unknown): string => {
      const record = { item, place: 0, polledAt: FIRST, since: null, startedAt: FIRST };
      const judged = appleLive.judge(record, context);
      return judged.verdict === "play" ? "play" : judged.reason;
    };
    const attributes = { name: "Song", artistName: "Somebody" };
    expect(verdict({ id: "i.abc", attributes })).to.equal("play");
    const seldom = { item: { id: "1", attributes }, place: 0, polledAt: FIRST, since: 0, startedAt: FIRST };
    const judged = appleLive.judge(seldom, context);
    expect(judged.verdict === "play" && FIRST - judged.play.startEarliest).to.equal(14 * 24 * 60 * MINUTE);
    expect(verdict({ attributes })).to.equal("missing_field");
    expect(verdict({ id: "1", attributes: { name: "Song" } })).to.equal("missing_field");
    expect(verdict({ id: "1" })).to.equal("malformed");
    expect(verdict(null)).to.equal("malformed");
  });
});

describe("comparing two lists of last played tracks", () => {
  const fresh = (now: string, before: string): number => newAtTop([...now], [...before]);

  it("finds the fewest new entries that explain the rest", () => {
    expect(fresh("abc", "abc")).to.equal(0);
    expect(fresh("xabc", "abc")).to.equal(1);
    expect(fresh("xyab", "abc")).to.equal(2);
    expect(fresh("aabc", "abc")).to.equal(1);
    expect(fresh("xyz", "abc")).to.equal(3);
    expect(fresh("abc", "")).to.equal(3);
    expect(fresh("", "abc")).to.equal(0);
  });

  it("knows that a track which is heard again may have moved to the top", () => {
    expect(fresh("bac", "abc")).to.equal(1);
    expect(fresh("cab", "abc")).to.equal(1);
    expect(fresh("cxab", "abc")).to.equal(2);
    expect(fresh("abcdef", "abcd")).to.equal(0);
  });
});

describe("the token for Apple", () => {
  it("is signed with the operator's key, and made anew before it ends", () => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    let now = Date.UTC(2026, 0, 1);
    const pem = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
    const token = developerTokens({ url: "", teamId: "TEAM", keyId: "KEY", privateKey: pem }, () => now);
    const first = token();
    const { header, payload } = jwt.verify(first, publicKey, { complete: true, clockTimestamp: now / 1000 });
    expect(header).to.deep.include({ alg: "ES256", kid: "KEY" });
    expect(payload).to.deep.equal({ iss: "TEAM", iat: now / 1000, exp: now / 1000 + 86_400 });
    now += 22 * 60 * MINUTE;
    expect(token()).to.equal(first);
    now += 2 * 60 * MINUTE;
    expect(token()).to.not.equal(first);
    expect(developerTokens({ url: "", developerToken: "given" })()).to.equal("given");
  });
});
