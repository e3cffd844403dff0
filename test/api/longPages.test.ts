/** Pages of as many and as long rows as there can be: none is larger than it should be, and nothing is missing. */
import { expect } from "chai";
import { PAGE_MAX_BYTES } from "../../db/lists.js";
import { updateSearchIndex } from "../../services/search/upkeep.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { insertPlays } from "../support/plays.js";

/** The longest name that anybody may give, and in JSON six times as long. */
const LONG = "\u0001".repeat(4000);
const HISTORY = "/api/v1/listening-history";
const PLAYS = 200;
const TRACKS = 100;
const READS = 12;

describe("pages of very long rows", function () {
  this.timeout(30_000);
  let app: TestApp;
  let user: TestUser;
  let artistId: number;

  before(async () => {
    app = await startTestApp({ env: { RATE_LIMIT: "on", RATE_READS: `${READS}/60` } });
    user = await buildUser(app);
    const { pool } = app.deps.database;
    await insertPlays(
      pool,
      user.id,
      Array.from({ length: PLAYS }, (_, n) => ({
        playedAt: new Date(Date.UTC(2024, 0, 1) + n * 60_000).toISOString(),
        album: LONG,
      })),
    );
    const { rows } = await pool.query<{ id: number }>(
      "insert into artists (name, name_key) values ($1, 'long') returning id",
      [LONG],
    );
    artistId = rows[0]!.id;
    await pool.query(
      `insert into tracks (artist_id, title, title_key, loose_key)
       select $1, 'zzyx ' || n || $2, 'zzyx ' || n, 'zzyx ' || n from generate_series(1, $3::integer) n`,
      [artistId, LONG, TRACKS],
    );
    while ((await updateSearchIndex(pool)) > 0);
  });
  after(() => app.close());

  /** A search gives up after half a second, which a busy machine may need for these. */
  async function patiently(address: string): Promise<Answer> {
    for (;;) {
      const answer = await app.as(user).get(address);
      if (answer.status !== 503) return answer;
    }
  }
  /** Every id in all pages from this address on, and how many pages there were. */
  async function walk(address: string) {
    const found: number[] = [];
    let pages = 0;
    for (let cursor: string | null = ""; cursor !== null; pages += 1) {
      const next: string = cursor === "" ? "" : `&cursor=${cursor}`;
      const { body } = expectStatus(200, await patiently(`${address}${next}`));
      const text = JSON.stringify(body);
      const [last] = body.data.slice(-1) as unknown[];
      expect(text.length - JSON.stringify(last).length).to.be.below(2 * PAGE_MAX_BYTES);
      const rows = body.data as readonly { readonly id: number; readonly item?: { readonly id: number } }[];
      found.push(...rows.map(({ id, item }) => item?.id ?? id));
      cursor = body.nextCursor as string | null;
    }
    return { found, pages };
  }

  it("end before their limit, and the next ones have the rest", async () => {
    for (const [address, rows] of [
      [`${HISTORY}?limit=1000`, PLAYS],
      [`/api/v1/tracks?artistId=${artistId}&limit=1000`, TRACKS],
      [`/api/v1/tracks?artistId=${artistId}&limit=1000&sort=name`, TRACKS],
      ["/api/v1/search?q=zzyx&type=track&limit=1000", TRACKS],
    ] as const) {
      const { found, pages } = await walk(address);
      expect(pages, address).to.equal(2);
      expect(found, address).to.have.length(rows);
      expect(new Set(found).size, address).to.equal(rows);
    }
  });

  it("are refused by number, since the next number would pass over the rest", async () => {
    const { body } = expectStatus(400, await app.as(user).get(`${HISTORY}?limit=1000&page=1`));
    expect(body.errors).to.have.length(1);
    expect(body.errors[0]).to.include({ path: "limit", code: "too_large" });
    const whole = expectStatus(200, await app.as(user).get(`${HISTORY}?limit=100&page=2`)).body;
    expect(whole.data).to.have.length(100);
  });

  it("asked for by two hundred at once leave the server to others", async () => {
    const greedy = await buildUser(app);
    await insertPlays(
      app.deps.database.pool,
      greedy.id,
      Array.from({ length: 1100 }, (_, n) => ({
        playedAt: new Date(Date.UTC(2024, 0, 1) + n * 60_000).toISOString(),
      })),
    );
    const before = expectStatus(200, await app.as(greedy).get(`${HISTORY}?limit=50`)).body;
    const address = `${HISTORY}?limit=1000&cursor=${before.nextCursor}`;
    const asked = Array.from({ length: 200 }, async () => {
      const answer = await fetch(app.url + address, {
        headers: { authorization: `Bearer ${greedy.accessToken}` },
      });
      await answer.arrayBuffer();
      return answer.status;
    });
    const other = await buildUser(app);
    expectStatus(200, await app.as(other).get(HISTORY));
    const statuses = await Promise.all(asked);
    expect(statuses.filter((status) => status === 429)).to.have.length(200 - (READS - 1));
    expect(statuses.filter((status) => status === 200).length).to.be.above(0);
    expect(statuses.filter((status) => ![200, 429, 503].includes(status))).to.deep.equal([]);
  });
});
