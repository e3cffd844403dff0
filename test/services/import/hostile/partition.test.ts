import { expect } from "chai";
import fc from "fast-check";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { insertUser } from "../../../support/users.js";
import { zip } from "../../../support/zip.js";
import { createBench, digestOf, json, play, podcast } from "../importing.js";
import type { ImportBench, PlayFields } from "../importing.js";
import { outcomeOf } from "./support.js";

const RUNS = Number(process.env["PROPERTY_RUNS"] ?? 25);
/** Given, the whole run is repeated; fast-check prints it, and the path to the case, when a property fails. */
const SEED = process.env["PROPERTY_SEED"];
const AT = Date.parse("2022-02-22T22:22:22Z");

/** Few titles, times and lengths, so that rows meet: equal ones, twins in another form of Unicode, neighbours in time. */
const title = fc.constantFrom(
  "Caf\u00e9",
  "Cafe\u0301",
  "\u212bngstr\u00f6m",
  "\u00c5ngstro\u0308m",
  "Plain",
);
const aPlay = fc
  .record({
    at: fc
      .tuple(fc.constantFrom(0, 60, 3600), fc.constantFrom(0, 0, 1, 2))
      .map(([minute, second]) => new Date(AT + (minute + second) * 1000).toISOString().replace(".000", "")),
    ms: fc.constantFrom(0, 29_999, 200_000),
    title,
    uri: fc.constantFrom(
      "spotify:local:file",
      `spotify:track:${"0".repeat(22)}`,
      `spotify:track:${"1".repeat(22)}`,
    ),
  })
  .map((fields: PlayFields) => play(1, { ...fields, artist: "Bj\u00f6rk", album: "Album" }));
const anyRow = fc.oneof(
  { weight: 12, arbitrary: aPlay },
  {
    weight: 1,
    arbitrary: fc.constantFrom(podcast(1), { ...play(2), ts: "no time" }, { ...play(3), ms_played: -1 }),
  },
);

/** Rows as uploads of files of rows: each row at least once, some again, in any order. */
const history = fc.array(anyRow, { minLength: 1, maxLength: 24 }).chain((rows) =>
  fc
    .record({
      order: fc.shuffledSubarray([...rows.keys()], { minLength: rows.length }),
      again: fc.array(fc.nat(rows.length - 1), { maxLength: 6 }),
      files: fc.array(fc.nat(4), { minLength: rows.length + 6, maxLength: rows.length + 6 }),
      uploads: fc.array(fc.nat(2), { minLength: 5, maxLength: 5 }),
      repeated: fc.boolean(),
    })
    .map(({ order, again, files, uploads, repeated }) => {
      const parts = new Map<number, unknown[]>();
      [...order, ...again].forEach((row, place) => {
        const file = files[place] ?? 0;
        parts.set(file, [...(parts.get(file) ?? []), rows[row]]);
      });
      const jobs = new Map<number, unknown[][]>();
      for (const [file, records] of parts) {
        const upload = uploads[file] ?? 0;
        jobs.set(upload, [...(jobs.get(upload) ?? []), records]);
      }
      const uploaded = [...jobs.values()];
      return { rows, uploads: repeated ? [...uploaded, ...uploaded.slice(0, 1)] : uploaded };
    }),
);

describe("rows spread over files and uploads", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  async function importAll(uploads: readonly unknown[][][]): Promise<{ rows: number; digest: string }> {
    const { pool } = db.database;
    const user = await insertUser(pool);
    let inserted = 0;
    for (const files of uploads) {
      const [only] = files;
      const bytes =
        files.length === 1 && only !== undefined
          ? json(only)
          : zip(files.map((records, n) => ({ name: `${n}.json`, data: json(records) })));
      const id = await bench.job(user, bytes, { batchRows: 5 });
      await bench.run(id);
      const outcome = await outcomeOf(pool, user, id);
      const [read = NaN, ...verdicts] = outcome.counts;
      expect(outcome.status).to.be.oneOf(["completed", "completed_with_errors"]);
      expect(read).to.equal(files.flat().length);
      expect(verdicts.reduce((sum, count) => sum + count, 0)).to.equal(read);
      inserted += verdicts[0] ?? NaN;
    }
    const digest = await digestOf(pool, user);
    expect(digest.rows).to.equal(inserted);
    return digest;
  }

  it("give the same history, whatever the order, the split and the repeats", async function () {
    this.timeout(Math.max(60_000, RUNS * 4000));
    await fc.assert(
      fc.asyncProperty(history, async ({ rows, uploads }) => {
        expect(await importAll(uploads)).to.deep.equal(await importAll([[rows]]));
      }),
      {
        numRuns: RUNS,
        interruptAfterTimeLimit: Math.max(12_000, RUNS * 400),
        markInterruptAsFailure: false,
        ...(SEED === undefined ? {} : { seed: Number(SEED) }),
      },
    );
  });
});
