import { expect } from "chai";
import { ExportService } from "../../../../services/users/export/ExportService.js";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { unzip } from "../../../support/unzip.js";
import { createHostileBench, importJob, type HostileBench, type Outcome } from "./support.js";

const HEADER = "uts,artist,album,track";
const FIRST = Date.UTC(2020, 0, 1) / 1000;
const COLUMN = { uts: 0, artist: 1, album: 2, track: 3 };

/** The n-th row is a play of its own; cells are written as they stand here. */
function row(n: number, cells: Partial<Record<keyof typeof COLUMN, string>> = {}): string {
  const all = [String(FIRST + n * 300), `Artist ${n % 7}`, `Album ${n % 5}`, `Track ${n % 9}`];
  for (const [name, text] of Object.entries(cells)) all[COLUMN[name as keyof typeof COLUMN]] = text;
  return all.join(",");
}
const rows = (count: number): string[] => Array.from({ length: count }, (_, n) => row(n));
const csv = (...lines: readonly string[]): string => [HEADER, ...lines, ""].join("\n");

describe("hostile CSV, imported", () => {
  let db: TestDatabase;
  let hostile: HostileBench;
  before(async () => {
    db = await createTestDatabase();
    hostile = await createHostileBench(db.database.pool);
  });
  after(async () => {
    await hostile.close();
    await db.drop();
  });

  const run = (text: string | Buffer): Promise<Outcome> =>
    hostile.run(Buffer.from(text), { filename: "scrobbles.csv" });
  const titlesOf = async (user: string): Promise<string[]> =>
    (
      await db.database.pool.query<{ title: string }>(
        `select t.title from listening_history h join tracks t on t.id = h.track_id
          where h.user_id = $1 order by h.played_at, h.id`,
        [user],
      )
    ).rows.map(({ title }) => title);

  it("is accepted with a byte order mark, with lines that end in CR alone, and with a line break in a cell", async () => {
    const text = csv(...rows(3), row(3, { track: '"two\rlines"' }));
    const outcome = await run(`\ufeff${text.replaceAll("\n", "\r")}`);
    expect(outcome).to.deep.include({ status: "completed", counts: [4, 4, 0, 0, 0], rows: 4 });
    expect((await titlesOf(outcome.user)).at(-1)).to.equal("two\rlines");
  });

  it("is accepted behind blank lines, and with lines whose CRLF was made of CRLF", async () => {
    for (const text of [`\n\n${csv(...rows(3))}`, csv(...rows(3)).replaceAll("\n", "\r\r\n")])
      expect(await run(text)).to.deep.include({ status: "completed", counts: [3, 3, 0, 0, 0], rows: 3 });
  });

  it("keeps every row before a quote that never ends, names its line, and holds none of what follows", async () => {
    const lines = rows(10_000);
    lines[499] = row(499, { track: '"never ended' });
    const outcome = await run(csv(...lines));
    expect(outcome).to.deep.include({
      status: "completed_with_errors",
      parts: ["scrobbles.csv: failed csv_unclosed_quote"],
      counts: [499, 499, 0, 0, 0],
      rows: 499,
    });
    expect(outcome.messages[0]).to.contain("501");

    const endless = await run(`${csv(...rows(5))}${row(5, { track: '"' })}${"x, ".repeat(1024 ** 2)}`);
    expect(endless).to.deep.include({
      parts: ["scrobbles.csv: failed csv_unclosed_quote"],
      counts: [5, 5, 0, 0, 0],
    });
  });

  it("loses one row to a cell too few or too many, and says which line", async () => {
    const outcome = await run(csv(row(0), "1577836800,only", row(2), `${row(3)},extra`, row(4)));
    expect(outcome).to.deep.include({
      status: "completed_with_errors",
      counts: [5, 3, 0, 0, 2],
      ledger: ["1 column_count", "3 column_count"],
    });
    const { rows: listed } = await db.database.pool.query<{ message: string }>(
      "select message from import_rows where job_id = $1 order by position",
      [outcome.id],
    );
    expect(listed[0]?.message).to.match(/line 3\b/i);
    expect(listed[1]?.message).to.match(/line 5\b/i);
  });

  it("is refused for a column that is there twice and for semicolons, and read with columns in any order", async () => {
    for (const text of [
      csv(row(0)).replace(HEADER, "uts,artist,track,track"),
      csv(row(0), row(1)).replaceAll(",", ";"),
    ]) {
      const refused = await run(text);
      expect(refused).to.deep.include({ status: "failed", code: "header", rows: 0 });
    }
    const [uts = "", artist = "", album = "", track = ""] = row(0).split(",");
    const shuffled = await run(
      ["track,uts,extra,album,artist", [track, uts, "x", album, artist].join(), ""].join("\n"),
    );
    expect(shuffled).to.deep.include({ status: "completed", rows: 1 });
    expect(await titlesOf(shuffled.user)).to.deep.equal(["Track 0"]);
  });

  it("loses one row to Latin-1 and one to a NUL", async () => {
    const lines = rows(60).map((line) => Buffer.from(`${line}\n`));
    lines[50] = Buffer.from(`${row(50, { artist: "Bj\u00f6rk" })}\n`, "latin1");
    lines[51] = Buffer.from(`${row(51, { track: "a\0b" })}\n`);
    const outcome = await run(Buffer.concat([Buffer.from(`${HEADER}\n`), ...lines]));
    expect(outcome).to.deep.include({
      status: "completed_with_errors",
      counts: [60, 58, 0, 0, 2],
      ledger: ["50 encoding", "51 text_nul"],
    });
    // In the very first row, where the file is still being recognised.
    const early = await run(csv(row(0, { track: "a\0b" }), row(1)));
    expect(early).to.deep.include({ counts: [2, 1, 0, 0, 1], ledger: ["0 text_nul"] });
  });

  it("stores what looks like a formula as given, disarms it in the exported CSV only, and gives nothing twice", async () => {
    const titles = ['=HYPERLINK("http://x")', "+1", "-x", "@x", "\ttab"];
    const lines = titles.map((title, n) => row(n, { track: `"${title.replaceAll('"', '""')}"` }));
    const outcome = await run(csv(...lines));
    expect(outcome).to.deep.include({ status: "completed", rows: titles.length });
    expect(await titlesOf(outcome.user)).to.deep.equal(titles);

    const chunks: Buffer[] = [];
    const { archive } = await new ExportService({ pool: db.database.pool }).open(outcome.user);
    for await (const chunk of archive) chunks.push(chunk as Buffer);
    const exported = Buffer.concat(chunks);
    const files = await unzip(exported);
    for (const title of titles) {
      expect(files.get("listening-history.jsonl")?.text).to.contain(JSON.stringify(title));
      expect(files.get("listening-history.csv")?.text).to.contain(`'${title.replaceAll('"', '""')}`);
    }

    const again = await hostile.bench.job(outcome.user, exported, { filename: "export.zip" });
    const second = await importJob(hostile.bench, outcome.user, again);
    expect(second).to.deep.include({ counts: [titles.length, 0, titles.length, 0, 0], rows: titles.length });
  });
});
