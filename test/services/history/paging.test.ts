import { randomUUID } from "node:crypto";
import { expect } from "chai";
import fc from "fast-check";
import { primaryReads } from "../../../db/replica.js";
import {
  HistoryService,
  type HistoryPage,
  type HistoryQuery,
} from "../../../services/history/HistoryService.js";
import { familiesOf } from "../../../services/history/sources.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { insertPlays, type PlaySpec } from "../../support/plays.js";
import { insertUser } from "../../support/users.js";

const SEED = 20261126;
const PLAYS = 150;
/** Few, so that many plays start at the same microsecond, and some only a microsecond apart. */
const TIMES = Array.from({ length: 12 }, (_, n) => `2024-01-0${1 + (n >> 2)}T10:00:00.00000${n % 4}Z`);
const ARTISTS = ["Ann", "Bob", "Cid"];
const TITLES = ["One", "Two"];
const ALBUMS = ["Red", null, "Blue"];
const SOURCES = ["spotify-extended", "lastfm", "spotify-account", "apple-export"] as const;
const IMPORTS = [randomUUID(), randomUUID()];

type Play = Required<PlaySpec> & {
  readonly id: number;
  readonly artistId: number;
  readonly trackId: number;
  readonly albumId: number | null;
};

describe("paging through a history", () => {
  let db: TestDatabase;
  let history: HistoryService;
  let ownerId: string;
  let strangerId: string;
  let plays: readonly Play[];

  before(async () => {
    db = await createTestDatabase();
    const { pool } = db.database;
    history = new HistoryService({ pool, reads: primaryReads(pool) });
    ownerId = await insertUser(pool);
    strangerId = await insertUser(pool);
    await pool.query("update users set history_visibility = 'public' where id = $1", [ownerId]);
    const random = fc.sample(fc.array(fc.nat(1000), { minLength: 8, maxLength: 8 }), {
      seed: SEED,
      numRuns: PLAYS,
    });
    const pick = <T>(from: readonly T[], n: number): T => from[n % from.length]!;
    const specs = random.map(([at, artist, track, album, source, importId, counted, hidden]) => ({
      playedAt: pick(TIMES, at!),
      artist: pick(ARTISTS, artist!),
      track: pick(TITLES, track!),
      album: pick(ALBUMS, album!),
      source: pick(SOURCES, source!),
      importId: pick([...IMPORTS, null], importId!),
      counted: counted! % 4 > 0,
      context: hidden! % 5 === 0 ? { incognito: true } : null,
      ...{ msPlayed: 180_000, duplicateOf: null },
    }));
    const ids = await insertPlays(pool, ownerId, specs);
    await insertPlays(pool, strangerId, specs.slice(0, 40));
    await pool.query("update listening_history set duplicate_of = $1 where id = any($2::bigint[])", [
      ids[0],
      ids.filter((_, n) => n % 6 === 5),
    ]);
    const { rows } = await pool.query<{ id: number; artist: number; track: number; album: number | null }>(
      `select id, artist_id as artist, track_id as track, album_id as album
         from listening_history where user_id = $1 order by id`,
      [ownerId],
    );
    plays = rows.map(({ id, artist, track, album }, n) => ({
      ...specs[ids.indexOf(id)]!,
      ...{ id, artistId: artist, trackId: track, albumId: album },
      duplicateOf: n % 6 === 5 ? ids[0]! : null,
    }));
  });
  after(() => db.drop());

  /** The ids that a list must have, in its order, told without SQL. */
  function expected(query: HistoryQuery, stranger: boolean): number[] {
    const { from, until, source, order } = query;
    const ascending = plays
      .filter((play) => {
        const at = Date.parse(play.playedAt);
        const album = play.album;
        return (
          (!stranger || (play.context === null && query.importId === undefined)) &&
          (query.includeDuplicates || play.duplicateOf === null) &&
          (from === undefined || at >= from.getTime()) &&
          (until === undefined || at < until.getTime()) &&
          (query.artistId === undefined || play.artistId === query.artistId) &&
          (query.trackId === undefined || play.trackId === query.trackId) &&
          (query.albumId === undefined || (album !== null && play.albumId === query.albumId)) &&
          (query.artist === undefined || play.artist === query.artist) &&
          (query.track === undefined || play.track === query.track) &&
          (source === undefined || familiesOf(source).includes(play.source)) &&
          (query.importId === undefined || play.importId === query.importId) &&
          (query.counted === undefined || play.counted === query.counted)
        );
      })
      // Their text has one form, so that it sorts like the time; to the microsecond, which Date does not know.
      .sort((a, b) => (a.playedAt === b.playedAt ? a.id - b.id : a.playedAt < b.playedAt ? -1 : 1))
      .map(({ id }) => id);
    return order === "asc" ? ascending : ascending.reverse();
  }

  const idsOf = ({ items }: HistoryPage): number[] =>
    (JSON.parse(`[${items}]`) as readonly { readonly id: number }[]).map(({ id }) => id);

  async function byCursor(readerId: string, query: HistoryQuery): Promise<number[][]> {
    const pages: number[][] = [];
    for (let cursor: string | null = ""; cursor !== null;) {
      const page: HistoryPage = await history.list(readerId, {
        ...query,
        ...(cursor === "" ? {} : { cursor }),
      });
      pages.push(idsOf(page));
      cursor = page.nextCursor;
    }
    return pages;
  }

  /** Up to and with the first page that says that none follows. */
  async function byNumber(readerId: string, query: HistoryQuery): Promise<number[][]> {
    const pages: number[][] = [];
    for (let number = 1; ; number += 1) {
      const page = await history.list(readerId, { ...query, page: number });
      pages.push(idsOf(page));
      if (page.nextCursor === null) return pages;
    }
  }

  it("gives exactly the plays that fit, each once and in order, whatever the filters, the limit and the way", async () => {
    const instant = fc
      .constantFrom(...TIMES, "2023-01-01T00:00:00Z", "2025-01-01T00:00:00Z")
      .map((at) => new Date(at));
    const idsOfAll = (key: "artistId" | "trackId" | "albumId") => [
      ...new Set(plays.flatMap((play) => play[key] ?? [])),
    ];
    const filters = {
      from: instant,
      until: instant,
      artistId: fc.constantFrom(...idsOfAll("artistId")),
      trackId: fc.constantFrom(...idsOfAll("trackId")),
      albumId: fc.constantFrom(...idsOfAll("albumId")),
      artist: fc.constantFrom(...ARTISTS),
      track: fc.constantFrom(...TITLES),
      source: fc.constantFrom(...SOURCES, "spotify" as const),
      importId: fc.constantFrom(...IMPORTS),
      counted: fc.boolean(),
    };
    const rest = fc.record({
      includeDuplicates: fc.boolean(),
      includeTotal: fc.constant(false),
      order: fc.constantFrom("asc" as const, "desc" as const),
      limit: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 200 })),
    });
    // Three filters at most times, so that most lists are not empty; now and then any number.
    const keys = Object.keys(filters) as (keyof typeof filters)[];
    const names = fc.oneof(
      { weight: 4, arbitrary: fc.subarray(keys, { maxLength: 3 }) },
      { weight: 1, arbitrary: fc.subarray(keys) },
    );
    const queries = fc.tuple(fc.record(filters), names, rest).map(([values, chosen, more]): HistoryQuery => ({
      ...Object.fromEntries(chosen.map((name) => [name, values[name]])),
      ...more,
    }));
    let longest = 0;
    await fc.assert(
      fc.asyncProperty(queries, fc.boolean(), async (wanted, stranger) => {
        const { from, until } = wanted;
        const backwards = from !== undefined && until !== undefined && from > until;
        const query = { ...wanted, ...(backwards ? { from: until, until: from } : {}), userId: ownerId };
        const readerId = stranger ? strangerId : ownerId;
        const all = expected(query, stranger);
        const pages = await byCursor(readerId, query);
        expect(pages.flat()).to.deep.equal(all);
        for (const page of pages.slice(0, -1)) expect(page).to.have.length(query.limit);
        // A page number goes to 100.
        if (all.length <= query.limit * 100) {
          expect(await byNumber(readerId, query)).to.deep.equal(pages);
        }
        const counted = await history.list(readerId, { ...query, includeTotal: true });
        expect([counted.total, counted.totalIsExact]).to.deep.equal([all.length, true]);
        const behind = await history.list(readerId, {
          ...query,
          page: Math.ceil(all.length / query.limit) + 1,
        });
        expect([behind.items, behind.nextCursor]).to.deep.equal(["", null]);
        longest = Math.max(longest, pages.length);
      }),
      { seed: SEED, numRuns: 60 },
    );
    expect(longest, "some lists have many pages").to.be.greaterThan(5);
  });
});
