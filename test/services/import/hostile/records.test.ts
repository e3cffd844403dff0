import { expect } from "chai";
import { REJECT_REASONS } from "../../../../services/import/verdicts.js";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { json, play, plays } from "../importing.js";
import { createHostileBench, type HostileBench, type Outcome } from "./support.js";

/** The text of a play with some fields written as they stand here, for what JSON.stringify would never write. */
function raw(n: number, fields: Readonly<Record<string, string>>): string {
  const literals = new Map<string, string>();
  const marked = Object.entries(fields).map(([name, text], at) => {
    literals.set(`"literal ${at}"`, text);
    return [name, `literal ${at}`] as const;
  });
  let text = JSON.stringify({ ...play(n), ...Object.fromEntries(marked) });
  for (const [mark, literal] of literals) text = text.replace(mark, () => literal);
  return text;
}

const list = (...records: readonly string[]): Buffer => Buffer.from(`[${records.join(",\n")}]`);
const TITLE = "master_metadata_track_name";
const ARTIST = "master_metadata_album_artist_name";
/** Records around the one that a row is about, so that its position is told and its neighbours are seen to be in. */
const AROUND = [play(1), play(2), play(3)].map((record) => JSON.stringify(record));

describe("hostile records, imported", () => {
  let db: TestDatabase;
  let hostile: HostileBench;
  before(async () => {
    db = await createTestDatabase();
    hostile = await createHostileBench(db.database.pool);
  });
  after(async () => {
    expect((await hostile.spool()).every((name) => /^[0-9a-f]{32}$/.test(name))).to.equal(true);
    await hostile.close();
    await db.drop();
  });

  const run = (upload: Buffer, filename = "endsong.json"): Promise<Outcome> =>
    hostile.run(upload, { filename });
  const historyOf = async (user: string): Promise<{ artist: string; title: string; context: unknown }[]> =>
    (
      await db.database.pool.query<{ artist: string; title: string; context: unknown }>(
        `select a.name as artist, t.title, h.context from listening_history h
           join tracks t on t.id = h.track_id join artists a on a.id = h.artist_id
          where h.user_id = $1 order by h.played_at, h.id`,
        [user],
      )
    ).rows;

  it("lose one row of a thousand to one broken record, and say which", async () => {
    const records = plays(1000).map((record) => JSON.stringify(record));
    records[499] = '{"ts":}';
    const outcome = await run(list(...records));
    expect(outcome).to.deep.include({
      status: "completed_with_errors",
      counts: [1000, 999, 0, 0, 1],
      ledger: ["499 malformed"],
      rows: 999,
    });
  });

  it("keep every whole row of a file that is cut inside a record", async () => {
    const whole = json(plays(1000)).toString();
    const inside = whole.indexOf(JSON.stringify(play(699)).slice(0, 60)) + 30;
    const outcome = await run(Buffer.from(whole.slice(0, inside)));
    expect(outcome).to.deep.include({
      status: "completed_with_errors",
      parts: ["endsong.json: failed file_truncated"],
      counts: [699, 699, 0, 0, 0],
      rows: 699,
    });
  });

  it("refuse what is no list of records, and one record that is nested too deeply", async () => {
    for (const text of ["{}", '"x"', `[[${JSON.stringify(play(1))}]]`])
      expect(await run(Buffer.from(text)), text.slice(0, 5)).to.deep.include({
        status: "failed",
        code: "unrecognised_format",
        rows: 0,
      });
    const nested = (levels: number): string => raw(9, { skipped: "[".repeat(levels) + "]".repeat(levels) });
    const outcome = await run(list(...AROUND, nested(31), nested(32), nested(40)));
    expect(outcome).to.deep.include({ counts: [6, 4, 0, 0, 2], ledger: ["4 too_deep", "5 too_deep"] });
  });

  it("refuse texts and records that are too long, each at its limit and one above", async () => {
    const title = (bytes: number): string => JSON.stringify(play(8, { title: "t".repeat(bytes) }));
    const padded = (bytes: number): string => {
      const bare = JSON.stringify({ ...play(9), more: "" });
      return JSON.stringify({ ...play(9), more: "m".repeat(bytes - bare.length) });
    };
    const outcome = await run(
      list(
        title(4096),
        title(4097),
        title(5 * 1024),
        padded(64 * 1024),
        padded(64 * 1024 + 1),
        padded(65 * 1024),
        ...AROUND,
      ),
    );
    expect(outcome).to.deep.include({
      counts: [9, 5, 0, 0, 4],
      ledger: ["1 too_long", "2 too_long", "4 too_long", "5 too_long"],
    });
    const huge = list(...AROUND, title(10 * 1024 ** 2), title(10 * 1024 ** 2));
    expect(await run(huge)).to.deep.include({
      counts: [5, 3, 0, 0, 2],
      ledger: ["3 too_long", "4 too_long"],
    });
  });

  it("take a byte order mark, refuse UTF-16, and lose one row to bytes that are no UTF-8", async () => {
    const text = `[${AROUND.join(",")}]`;
    expect(await run(Buffer.from(`\ufeff${text}`))).to.deep.include({ status: "completed", rows: 3 });
    const utf16 = Buffer.from(`\ufeff${text}`, "utf16le");
    expect(await run(utf16)).to.deep.include({ status: "failed", code: "encoding", rows: 0 });
    const broken = list(...AROUND, raw(9, { [TITLE]: '"caf\u00ff"' }));
    const bytes = Buffer.from(broken.toString(), "latin1");
    expect(await run(bytes)).to.deep.include({ counts: [4, 3, 0, 0, 1], ledger: ["3 encoding"] });
  });

  it("refuse NUL in a text, mend half a surrogate pair, and let no key reach the prototype", async () => {
    const outcome = await run(
      list(
        raw(1, { [ARTIST]: '"A\\u0000B"' }),
        raw(2, { [TITLE]: '"half \\ud83d pair"', spotify_track_uri: '"spotify:local:half"' }),
        `{"__proto__":{"polluted":1,"skipped":true},"constructor":{"prototype":{"polluted":1}},${JSON.stringify(play(3)).slice(1)}`,
      ),
    );
    expect(outcome).to.deep.include({ counts: [3, 2, 0, 0, 1], ledger: ["0 text_nul"] });
    const history = await historyOf(outcome.user);
    expect(history.map(({ title }) => title)).to.deep.equal(["half \ufffd pair", "Track 3"]);
    expect(history[1]?.context).to.deep.include({ skipped: false });
    expect(Object.keys(history[1]?.context ?? {})).to.not.include("polluted");
    expect(({} as Record<string, unknown>)["polluted"]).to.equal(undefined);
  });

  it("refuse times that are none, and times in which nobody can have listened", async () => {
    const after = (hours: number): string =>
      JSON.stringify(new Date(Date.now() + hours * 3_600_000).toISOString().replace(/\.\d+/, ""));
    const cases: readonly (readonly [string, string | null])[] = [
      ['"2024-02-30T00:00:00Z"', "bad_time"],
      ['"now"', "bad_time"],
      ['""', "bad_time"],
      ["null", "bad_time"],
      ["1e20", "bad_time"],
      ['"2024-02-29T24:00:00Z"', "bad_time"],
      ['"0001-01-01T00:00:00Z"', "time_out_of_range"],
      ['"1999-12-31T23:59:59Z"', "time_out_of_range"],
      ['"2000-01-01T00:00:00Z"', null],
      [after(25), "time_out_of_range"],
      [after(23), null],
    ];
    await expectTable("ts", cases);
  });

  it("refuse numbers that cannot be milliseconds", async () => {
    await expectTable("ms_played", [
      ["-1", "bad_number"],
      ["1.5", "bad_number"],
      ["2147483647", null],
      ["2147483648", "bad_number"],
      ["3000000000", "bad_number"],
      ["1e999", "bad_number"],
      ['"30000"', "bad_number"],
      ["null", "bad_number"],
      ["9007199254740993", "bad_number"],
      ["3e4", null],
      ["0", null],
    ]);
  });

  /** One file with all cases: verdict, position and rows of each. */
  async function expectTable(
    field: string,
    cases: readonly (readonly [string, string | null])[],
  ): Promise<void> {
    const outcome = await run(list(...cases.map(([literal], n) => raw(n, { [field]: literal }))));
    const bad = cases.flatMap(([, reason], position) => (reason === null ? [] : [`${position} ${reason}`]));
    const good = cases.length - bad.length;
    expect(outcome.ledger).to.deep.equal(bad);
    expect(outcome.counts).to.deep.equal([cases.length, good, 0, 0, bad.length]);
    expect(outcome.rows).to.equal(good);
    const totals = await db.database.pool.query<{ rejected: Record<string, number> }>(
      "select totals->'reasons'->'rejected' as rejected from import_jobs where id = $1",
      [outcome.id],
    );
    const counted = Object.entries(totals.rows[0]?.rejected ?? {});
    expect(counted.reduce((sum, [, count]) => sum + count, 0)).to.equal(bad.length);
    expect(counted.every(([reason]) => reason in REJECT_REASONS)).to.equal(true);
  }

  it("count one row that comes twice once, also in another form of Unicode, and two that differ twice", async () => {
    const at = "2021-05-05T05:05:05Z";
    const local = { at, uri: "spotify:local:x" };
    const outcome = await run(
      json([
        play(1),
        play(1),
        play(2, { ...local, title: "Caf\u00e9" }),
        play(2, { ...local, title: "Cafe\u0301" }),
        play(3, { at: "2021-06-01T00:00:00Z", title: "One" }),
        play(4, { at: "2021-06-01T00:00:00Z", title: "Two" }),
        play(5, { at: "2021-07-01T00:00:00Z" }),
        play(5, { at: "2021-07-01T00:00:01Z" }),
      ]),
    );
    expect(outcome).to.deep.include({ status: "completed", counts: [8, 6, 2, 0, 0], rows: 6 });
    const duplicates = await db.database.pool.query<{ positions: number[] }>(
      `select array_agg(position order by position) as positions
         from import_batches b, unnest(b.claimed_positions, b.claimed_reasons) as c (position, reason)
        where b.job_id = $1 and reason <> 0`,
      [outcome.id],
    );
    expect(duplicates.rows[0]?.positions).to.deep.equal([1, 3]);
  });

  it("fit into one batch whatever they are: 14,000 rows, long titles, a kilobyte of emoji", async () => {
    const words = (length: number): string =>
      Array.from({ length }, (_, n) => ((n * 7919) % 36).toString(36)).join("");
    const records = [
      ...plays(13_998),
      play(14_000, { title: words(3000), uri: "spotify:local:a" }),
      play(14_001, { title: "😀".repeat(256), artist: "🎵".repeat(256), uri: "spotify:local:b" }),
    ];
    const outcome = await hostile.run(json(records), { filename: "endsong.json", batchRows: 14_000 });
    expect(outcome).to.deep.include({ status: "completed", counts: [14_000, 14_000, 0, 0, 0], rows: 14_000 });
  });

  it("are counted one by one in a file of nothing but commas, at little cost", async () => {
    const outcome = await hostile.run(Buffer.from(`[${AROUND.join(",")}${",".repeat(1000)}]`), {
      filename: "endsong.json",
      batchRows: 300,
    });
    // The comma before the bracket ends nothing: a trailing comma loses no record.
    expect(outcome).to.deep.include({
      status: "completed_with_errors",
      counts: [1002, 3, 0, 0, 999],
      rows: 3,
    });
    expect(outcome.ledger.at(-1)).to.equal("1001 malformed");
  });
});
