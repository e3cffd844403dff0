import { expect } from "chai";
import type { ConnectionProvider } from "../../../../db/models/enums.js";
import { createTestDatabase, type TestDatabase } from "../../../support/database.js";
import { tooMany } from "../../../support/providers/exchange.js";
import { lastfmTrack, listen, type Scrobble } from "../../../support/providers/scrobblers.js";
import { type StandIn, startStandIn } from "../../../support/providers/standIn.js";
import { insertUser } from "../../../support/users.js";
import { countsOfJob, createBench, type ImportBench } from "../../import/importing.js";
import { insertConnection, openedSync, stepsUntil, syncSteps } from "../syncBench.js";
import { accessOf, providerOf } from "./reading.js";

const START = Date.UTC(2025, 0, 1) / 1000;
const scrobbles = (count: number): Scrobble[] =>
  Array.from({ length: count }, (_, n) => ({
    title: `Song ${n}`,
    artist: "Somebody",
    album: "Album",
    at: START + n * 200,
  }));

describe("syncs with the clients of the providers", function () {
  this.timeout(30_000);
  let standIn: StandIn;
  let db: TestDatabase;
  let bench: ImportBench;
  let user: string;

  before(async () => {
    standIn = await startStandIn();
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
  });
  beforeEach(async () => {
    standIn.reset();
    user = await insertUser(db.database.pool);
  });
  after(async () => {
    await bench.close();
    await db.drop();
    await standIn.stop();
  });

  const pool = () => db.database.pool;

  async function connected(provider: ConnectionProvider, account: string, token: string | null = null) {
    const connection = await insertConnection(pool(), user, { provider });
    const openAccess = () => Promise.resolve({ ...accessOf(account, token), connectionId: connection });
    return { connection, steps: syncSteps(pool(), providerOf(standIn, provider), { openAccess }) };
  }

  async function synced({ connection, steps }: Awaited<ReturnType<typeof connected>>) {
    const id = await openedSync(pool(), connection);
    expect(await stepsUntil(steps, id)).to.include({ status: "done" });
    await bench.steps.finish({ importId: id, attempt: 1 }, { outcome: "completed" });
    return countsOfJob(pool(), id);
  }

  async function uploaded(records: readonly unknown[]) {
    const id = await bench.job(user, Buffer.from(JSON.stringify(records)));
    expect(await bench.run(id)).to.equal("completed");
    return countsOfJob(pool(), id);
  }

  it("of ListenBrainz add nothing to its export, nor that to them", async () => {
    standIn.listenbrainz.listens.set("ada", scrobbles(120));
    const account = await connected("listenbrainz", "ada");
    expect(await synced(account)).to.include({ inserted: 120, rejected: 0, skipped: 0 });
    expect(await uploaded(scrobbles(125).map(listen))).to.include({ inserted: 5, duplicate: 120 });
    standIn.listenbrainz.listens.set("ada", scrobbles(126));
    expect(await synced(account)).to.include({ inserted: 1 });
  });

  it("of Last.fm add nothing to a copy of its API's answers, nor that to them", async () => {
    standIn.lastfm.scrobbles.set("ada", scrobbles(250));
    expect(await uploaded(scrobbles(240).map(lastfmTrack))).to.include({ inserted: 240 });
    expect(await synced(await connected("lastfm", "ada"))).to.include({ inserted: 10, rejected: 0 });
  });

  it("of Spotify bring each play once, though two hours of them are read again", async () => {
    const plays = Array.from({ length: 12 }, (_, n) => ({
      id: String(n).padStart(22, "0"),
      title: `Song ${n}`,
      artist: "Somebody",
      durationMs: 180_000,
      playedAt: Date.UTC(2026, 0, 1) + n * 200_000,
    }));
    standIn.spotify.plays.set("ada", plays.slice(0, 10));
    const account = await connected("spotify", "ada", standIn.spotify.oauth.issue("ada").accessToken);
    expect(await synced(account)).to.include({ read: 10, inserted: 10 });
    standIn.spotify.plays.set("ada", plays);
    expect(await synced(account)).to.include({ read: 12, inserted: 2, duplicate: 10 });
  });

  it("of Apple Music list what was there before, and bring what comes after", async () => {
    const song = (n: number) => ({ id: `${n}`, title: `Song ${n}`, artist: "Somebody", durationMs: 60_000 });
    standIn.apple.played.set("user-token", [song(2), song(1)]);
    const account = await connected("apple", "apple-1", "user-token");
    expect(await synced(account)).to.include({ read: 2, inserted: 0, skipped: 2 });
    standIn.apple.played.set("user-token", [song(3), song(2), song(1)]);
    expect(await synced(account)).to.include({ read: 1, inserted: 1 });
    expect(await synced(account)).to.include({ read: 0, inserted: 0 });
    const { rows } = await pool().query(
      "select source, precision from listening_history where user_id = $1",
      [user],
    );
    expect(rows).to.deep.equal([{ source: "apple-live", precision: "inferred" }]);
  });

  it("wait as long as a 429 says, and then go on where they were", async () => {
    standIn.lastfm.scrobbles.set("ada", scrobbles(3));
    const { connection, steps } = await connected("lastfm", "ada");
    const id = await openedSync(pool(), connection);
    standIn.next("/2.0/", tooMany("80000"));
    const waiting = await stepsUntil(steps, id);
    expect(waiting).to.include({ status: "waiting", reason: "rate_limited" });
    const until = "until" in waiting ? Date.parse(String(waiting.until)) : 0;
    expect(until - Date.now()).to.be.within(79_900_000, 80_000_000);

    const afterwards = syncSteps(pool(), providerOf(standIn, "lastfm"), {
      openAccess: () => Promise.resolve({ ...accessOf("ada"), connectionId: connection }),
    });
    expect(await stepsUntil(afterwards, id)).to.include({ status: "done" });
    expect(await countsOfJob(pool(), id)).to.include({ read: 3, inserted: 3 });
  });
});
