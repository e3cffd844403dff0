import { expect } from "chai";
import { ledgerRows } from "../../../services/import/ledger.js";
import type { LedgerFilter, LedgerPlace, PlacedLedgerRow } from "../../../services/import/ledger.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { insertUser } from "../../support/users.js";
import { zip } from "../../support/zip.js";
import { createBench, json, LIMITS, play, plays, podcast } from "./importing.js";
import type { ImportBench } from "./importing.js";

const broken = (n: number) => ({ ...play(n), ts: "never" });

describe("the ledger of an import", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  before(async () => {
    db = await createTestDatabase();
    // Batches end after 900 characters of text: at no regular positions.
    bench = await createBench(db.database.pool, { limits: { ...LIMITS, batchChars: 900 } });
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = () => db.database.pool;

  async function rowsAfter(
    id: string,
    filter: LedgerFilter = {},
    after: LedgerPlace | null = null,
    limit = Infinity,
  ): Promise<PlacedLedgerRow[]> {
    const rows: PlacedLedgerRow[] = [];
    for await (const row of ledgerRows(pool(), { id }, filter, after)) {
      rows.push(row);
      if (rows.length === limit) break;
    }
    return rows;
  }

  const brief = (rows: readonly PlacedLedgerRow[]) =>
    rows.map(({ place, verdict, reason }) => `${place.partNo}/${place.position} ${verdict} ${reason}`);

  it("lists the rows of batches of uneven size, from any row on", async () => {
    const user = await insertUser(pool());
    const record = (n: number) => (n % 5 === 0 ? podcast(n) : n % 7 === 0 ? broken(n) : play(n % 40));
    const records = Array.from({ length: 130 }, (_, n) => record(n));
    const id = await bench.job(
      user,
      zip([
        { name: "a.json", data: json(records) },
        { name: "b.json", data: json(records.slice(0, 60)) },
      ]),
    );
    await bench.run(id);
    const sizes = await pool().query<{ read: number }>(
      "select read from import_batches where job_id = $1 order by part_no, batch_no",
      [id],
    );
    expect(new Set(sizes.rows.map((row) => row.read)).size).to.be.above(3);

    const seen = new Set<number>();
    const verdict = (part: number, n: number): string[] => {
      if (n % 5 === 0) return [`${part}/${n} skipped podcast`];
      if (n % 7 === 0) return [`${part}/${n} rejected bad_time`];
      if (seen.has(n % 40)) return [`${part}/${n} duplicate same_row`];
      seen.add(n % 40);
      return [];
    };
    const expected = [
      ...records.flatMap((_, n) => verdict(0, n)),
      ...records.slice(0, 60).flatMap((_, n) => verdict(1, n)),
    ];
    const all = await rowsAfter(id);
    expect(brief(all)).to.deep.equal(expected);
    for (const [index, { place }] of [...all.entries()].filter(([n]) => n % 4 === 0))
      expect(brief(await rowsAfter(id, {}, place, 2))).to.deep.equal(expected.slice(index + 1, index + 3));
    for (const filter of [
      { verdict: "skipped" },
      { verdict: "duplicate" },
      { reason: "bad_time" },
      { verdict: "skipped", reason: "podcast" },
    ] as const) {
      const wanted = all.filter(
        (row) =>
          (!("verdict" in filter) || row.verdict === filter.verdict) &&
          (!("reason" in filter) || row.reason === filter.reason),
      );
      expect(brief(await rowsAfter(id, filter))).to.deep.equal(brief(wanted));
      const middle = wanted[Math.floor(wanted.length / 2)]!.place;
      const rest = wanted.slice(Math.floor(wanted.length / 2) + 1);
      expect(brief(await rowsAfter(id, filter, middle))).to.deep.equal(brief(rest));
    }
  });

  it("lists a batch of thousands of rows, also those whose text was not kept", async () => {
    const user = await insertUser(pool());
    const large = await createBench(pool(), { blobs: bench.blobs });
    const records = Array.from({ length: 2500 }, (_, n) => (n % 2 === 0 ? podcast(n) : broken(n)));
    const id = await bench.job(user, json(records), { batchRows: 10_000 });
    await large.run(id);
    await large.close();
    await pool().query(
      "delete from import_rows where job_id = $1 and verdict = 'skipped' and position % 4 = 0",
      [id],
    );

    const rows = await rowsAfter(id);
    expect(rows.map((row) => row.position)).to.deep.equal(records.map((_, n) => n));
    rows.forEach((row, n) => {
      const [verdict, reason] = n % 2 === 0 ? ["skipped", "podcast"] : ["rejected", "bad_time"];
      expect(row).to.include({ verdict, reason });
      if (n % 4 === 0) expect(row).to.include({ excerpt: null, message: "A podcast episode" });
      else expect(row.excerpt).to.include(n % 2 === 0 ? `Episode ${n}` : "never");
    });
    expect((await rowsAfter(id, { verdict: "skipped" })).map((row) => row.position)).to.deep.equal(
      records.map((_, n) => n).filter((n) => n % 2 === 0),
    );
    const page = await rowsAfter(id, {}, { partNo: 0, position: 1998 }, 3);
    expect(page.map((row) => row.position)).to.deep.equal([1999, 2000, 2001]);
  });

  it("is empty for an import of nothing but new plays", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, json(plays(50)));
    await bench.run(id);
    expect(await rowsAfter(id)).to.deep.equal([]);
  });
});
