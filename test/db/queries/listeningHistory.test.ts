import { randomUUID } from "node:crypto";
import { expect } from "chai";
import type pg from "pg";
import type { ListenFilters } from "../../../db/queries/listenFilters.js";
import {
  listenPage,
  listenPageStatement,
  type ListenPosition,
  listenTotal,
} from "../../../db/queries/listeningHistory.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { insertLongHistory } from "../../support/plays.js";
import { insertUser } from "../../support/users.js";

const PLAYS = 50_000;
const FEW = 800;
const LIMIT = 100;

interface PlanNode {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly "Shared Hit Blocks": number;
  readonly "Shared Read Blocks": number;
  readonly Plans?: readonly PlanNode[];
}

describe("db/queries/listeningHistory, on a long history", function () {
  this.timeout(120_000);
  let db: TestDatabase;
  let pool: pg.Pool;
  let userId: string;
  /** Has the same plays, only few of them. */
  let fewId: string;
  const importId = randomUUID();
  const ids: { artistId: number; trackId: number; albumId: number } = { artistId: 0, trackId: 0, albumId: 0 };

  before(async () => {
    db = await createTestDatabase();
    pool = db.database.pool;
    userId = await insertUser(pool);
    fewId = await insertUser(pool);
    await insertLongHistory(pool, userId, PLAYS, { importId });
    await insertLongHistory(pool, fewId, FEW, { importId });
    await pool.query("vacuum analyze listening_history, tracks, artists, albums, album_tracks");
    const { rows } = await pool.query<{ artist_id: number; track_id: number; album_id: number }>(
      "select artist_id, track_id, album_id from listening_history where user_id = $1 order by id limit 1",
      [userId],
    );
    const [row] = rows;
    if (row === undefined) throw new Error("no plays");
    Object.assign(ids, { artistId: row.artist_id, trackId: row.track_id, albumId: row.album_id });
  });
  after(() => db.drop());

  /** Each combination of these is looked at; what a filter is about comes from the first play. */
  const single = (): readonly (readonly [string, Partial<ListenFilters>])[] => [
    ["nothing", {}],
    ["from and until", { from: new Date("2015-01-01T00:00:00Z"), until: new Date("2015-01-20T00:00:00Z") }],
    ["artistId", { artistId: ids.artistId }],
    ["trackId", { trackId: ids.trackId }],
    ["albumId", { albumId: ids.albumId }],
    ["artist", { artistKey: "artist 0" }],
    ["track", { titleKey: "track 0" }],
    ["source", { sources: ["spotify-account", "spotify-extended"] }],
    ["importId", { importId }],
    ["counted", { counted: true }],
  ];
  const combinations = (): readonly (readonly [string, Partial<ListenFilters>])[] => {
    const all = single();
    const pairs = all.flatMap(([name, filter], index) =>
      all
        .slice(Math.max(index, 1))
        .map(([other, more]) => [`${name} + ${other}`, { ...filter, ...more }] as const),
    );
    const everything = Object.assign({}, ...all.map(([, filter]) => filter)) as Partial<ListenFilters>;
    return [...all, ...pairs, ["everything", everything]];
  };

  async function plan(
    filters: Partial<ListenFilters>,
    generic: boolean,
    after?: ListenPosition,
    offset?: number,
  ) {
    const { text, values } = listenPageStatement({
      filters: { userId, includeDuplicates: false, ...filters },
      order: "desc",
      limit: LIMIT,
      hidePrivate: false,
      ...(after === undefined ? {} : { after }),
      ...(offset === undefined ? {} : { offset }),
    });
    const client = await pool.connect();
    try {
      const literals = values.map((value) => client.escapeLiteral(asText(value))).join(", ");
      await client.query(`set plan_cache_mode = ${generic ? "force_generic_plan" : "force_custom_plan"}`);
      await client.query(`prepare this_page as ${text}`);
      const { rows } = await client.query<{ "QUERY PLAN": readonly [{ readonly Plan: PlanNode }] }>(
        `explain (analyze, buffers, timing off, format json) execute this_page (${literals})`,
      );
      const [row] = rows;
      if (row === undefined) throw new Error("no plan");
      return nodesOf(row["QUERY PLAN"][0].Plan);
    } finally {
      client.release(true); // with its settings and its statement
    }
  }

  const asText = (value: unknown): string =>
    value instanceof Date
      ? value.toISOString()
      : Array.isArray(value)
        ? `{${value.join(",")}}`
        : String(value);
  const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];
  const historyScans = (nodes: readonly PlanNode[]) =>
    nodes.filter((node) => node["Relation Name"] === "listening_history");
  const buffers = ([root]: readonly PlanNode[]): number =>
    (root?.["Shared Hit Blocks"] ?? 0) + (root?.["Shared Read Blocks"] ?? 0);

  for (const generic of [false, true]) {
    it(`answers each ${generic ? "combination of filters" : "filter"} from an index, planned ${generic ? "once for all" : "for its"} values`, async () => {
      for (const [name, filters] of generic ? combinations() : single()) {
        const nodes = await plan(filters, generic);
        const scans = historyScans(nodes);
        expect(scans, name).to.have.length(1);
        expect(scans[0]?.["Node Type"], name).to.be.oneOf(["Index Scan", "Bitmap Heap Scan"]);
        // A sort may put the plays of a track or a run of equal times in order, never the history.
        for (const sort of nodes.filter((node) => node["Node Type"] === "Sort")) {
          const [input] = sort.Plans ?? [];
          expect((input?.["Actual Rows"] ?? 0) * (input?.["Actual Loops"] ?? 1), name).to.be.lessThan(
            PLAYS / 10,
          );
        }
      }
    });
  }

  it("reads little more than a page when the filter has an index", async () => {
    const indexed = ["nothing", "from and until", "artistId", "trackId", "artist"];
    for (const [name, filters] of single().filter(([each]) => indexed.includes(each))) {
      const [scan] = historyScans(await plan(filters, true));
      const read = (scan?.["Actual Rows"] ?? 0) + (scan?.["Rows Removed by Filter"] ?? 0);
      expect(read, name).to.be.within(LIMIT, LIMIT + 50);
    }
  });

  it("finds the few plays of an import in a long history without reading the rest, wherever they are", async () => {
    const small = randomUUID();
    await pool.query(
      `update listening_history set import_job_id = $1
        where id in (select id from listening_history where user_id = $2 order by played_at limit 40)`,
      [small, userId],
    );
    for (const generic of [false, true]) {
      for (const more of [{}, { counted: true }, { from: new Date("2015-01-01T00:00:00Z") }]) {
        const nodes = await plan({ importId: small, ...more }, generic);
        const [scan] = historyScans(nodes);
        expect(scan?.["Index Name"]).to.equal("plays_by_import");
        expect((scan?.["Actual Rows"] ?? 0) + (scan?.["Rows Removed by Filter"] ?? 0)).to.equal(40);
        expect(buffers(nodes)).to.be.lessThan(1000);
      }
      const none = await plan({ importId: randomUUID() }, generic);
      expect(buffers(none)).to.be.lessThan(100);
    }
    const [scan] = historyScans(await plan({ importId }, true));
    expect(scan?.["Actual Rows"], "of a large one it takes a page").to.be.within(LIMIT, LIMIT + 5);
  });

  it("costs no more deep in the history than at its beginning", async () => {
    const deep = await listenPage(pool, {
      filters: { userId, includeDuplicates: false },
      order: "desc",
      limit: LIMIT,
      offset: PLAYS - 300,
      hidePrivate: false,
    });
    if (deep.next === null) throw new Error("expected more plays");
    const first = buffers(await plan({}, true));
    const last = buffers(await plan({}, true, deep.next));
    expect(last).to.be.lessThan(first * 1.5);
  });

  it("counts exactly what its pages hold, for each filter", async () => {
    const pair = { artistKey: "artist 0", titleKey: "track 0" };
    for (const [name, filters] of [...single(), ["artist + track", pair] as const]) {
      const all = { userId: fewId, includeDuplicates: false, ...filters };
      const { items, next } = await listenPage(pool, {
        filters: all,
        order: "desc",
        limit: FEW,
        hidePrivate: false,
      });
      const plays = JSON.parse(`[${items}]`) as readonly { readonly id: number }[];
      expect(next, name).to.equal(null);
      expect(await listenTotal(pool, { filters: all, hidePrivate: false }), name).to.equal(plays.length);
      expect(new Set(plays.map(({ id }) => id)).size, name).to.equal(plays.length);
      expect(plays.length, name).to.be.greaterThan(0);
    }
  });

  it("keeps few statements planned, however many combinations are asked for", () => {
    const named = combinations().filter(
      ([, filters]) =>
        listenPageStatement({
          filters: { userId, includeDuplicates: false, ...filters },
          order: "desc",
          limit: LIMIT,
          hidePrivate: false,
        }).name !== undefined,
    );
    const many = combinations().filter(([, filters]) => Object.keys(filters).length > 2);
    expect(named.length).to.be.greaterThan(10);
    expect(many.length).to.be.greaterThan(1);
    expect(named.some((each) => many.includes(each))).to.equal(false);
  });
});
