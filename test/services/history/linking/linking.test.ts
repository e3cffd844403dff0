import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect } from "chai";
import type pg from "pg";
import { catchUpLinks } from "../../../../services/import/linkUpkeep.js";
import { createTestDatabase, type TestDatabase } from "../../../support/database.js";
import { insertUser } from "../../../support/users.js";
import { zip } from "../../../support/zip.js";
import { createBench, type ImportBench, type JobOptions, json, play } from "../../import/importing.js";
import { accountDataOf, lastfmOf, listenbrainzOf } from "./copies.js";

const FIXTURE = path.resolve(
  import.meta.dirname,
  "../../../../../shared/fixtures/spotify-extended/nl-2024/Streaming_History_Audio_2024-2025_3.json",
);
const SLICE = 220;

type Records = readonly Readonly<Record<string, unknown>>[];

/** Plays with all that makes linking hard: repeats one after the other, skips, pauses, and names with guests. */
const SAMPLE: Records = Array.from({ length: 60 }, (_, n) => {
  const at = Date.UTC(2024, 0, 1) + n * 61_000;
  const paused = n % 17 === 0 ? 20_000 : 0;
  return {
    ...play(n, {
      at: new Date(at + paused).toISOString().replace(".000", ""),
      ms: n % 5 === 0 ? 4000 : 60_000,
      title: n % 2 === 0 ? "On Repeat" : `Track ${n % 9} (feat. Somebody)`,
      artist: n % 2 === 0 ? "Loop" : "Another",
      uri: `spotify:track:${String(n % 2 === 0 ? 99 : n % 9).padStart(22, "0")}`,
    }),
    offline_timestamp: Math.floor((at - (n % 5 === 0 ? 4000 : 60_000)) / 1000),
  };
});

const ORDERS = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const;

describe("linking plays of several sources", () => {
  let db: TestDatabase;
  let pool: pg.Pool;
  let bench: ImportBench;
  let user: string;
  before(async () => {
    db = await createTestDatabase();
    pool = db.database.pool;
    bench = await createBench(pool);
  });
  beforeEach(async () => {
    user = await insertUser(pool);
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const rows = async <T>(sql: string, ...values: unknown[]): Promise<T[]> =>
    (await pool.query(sql, values)).rows as T[];

  async function imported(upload: Buffer, options: JobOptions = {}): Promise<string> {
    const id = await bench.job(user, upload, options);
    expect(await bench.run(id)).to.match(/^completed/);
    return id;
  }

  const uploadsOf = async (records: Records): Promise<Buffer[]> => [
    json(records),
    json(accountDataOf(records)),
    await zip([
      { name: "lastfm.json", data: json(lastfmOf(records)) },
      {
        name: "listens.jsonl",
        data: Buffer.from(
          listenbrainzOf(records)
            .map((listen) => `${JSON.stringify(listen)}\n`)
            .join(""),
        ),
      },
    ]),
  ];

  /** What lists and statistics count. */
  const counted = async (): Promise<string[]> =>
    (
      await rows<{ play: string }>(
        `select concat_ws(' ', t.loose_key, h.played_at at time zone 'UTC', h.source) as play from listening_history h join tracks t on t.id = h.track_id
        where h.user_id = $1 and h.counted and h.duplicate_of is null order by 1`,
        user,
      )
    ).map((row) => row.play);
  const links = (): Promise<object[]> =>
    rows(
      `select encode(h.source_key, 'hex') as key, encode(l.source_key, 'hex') as leader
         from listening_history h join listening_history l on l.id = h.duplicate_of
        where h.user_id = $1 order by 1`,
      user,
    );
  const countsOf = async (id: string): Promise<{ inserted: number; linked: number }> => {
    const [found] = await rows<{ inserted: number; linked: number }>(
      "select (totals->'counts'->>'inserted')::integer as inserted, (totals->'counts'->>'linked')::integer as linked from import_jobs where id = $1",
      id,
    );
    return found!;
  };

  async function expectTheSameInAnyOrder(records: Records): Promise<void> {
    await imported(json(records));
    const alone = await counted();
    expect(await links()).to.deep.equal([]);
    const uploads = await uploadsOf(records);
    let first: object[] | undefined;
    for (const order of ORDERS) {
      user = await insertUser(pool);
      for (const index of order) await imported(uploads[index]!);
      expect(await counted(), order.join()).to.deep.equal(alone);
      first ??= await links();
      expect(await links(), order.join()).to.deep.equal(first);
    }
    const poorer = accountDataOf(records).length + lastfmOf(records).length + listenbrainzOf(records).length;
    expect(first).to.have.length(poorer);
  }

  it("counts the plays of one person in four sources once, in whatever order they are imported", async () => {
    await expectTheSameInAnyOrder(SAMPLE);
  });

  it("does so for a real history and copies that are derived from it", async function () {
    if (!existsSync(FIXTURE)) {
      console.warn(`      skipped: ${FIXTURE} is not there`);
      return this.skip();
    }
    const records = JSON.parse(await readFile(FIXTURE, "utf8")) as Records;
    await expectTheSameInAnyOrder(records.slice(0, SLICE));
  });
});
