import { expect } from "chai";
import { createReadStream, existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import path from "node:path";
import { detectFormat } from "../../../../services/import/reading/detect.js";
import { readRecords } from "../../../../services/import/reading/records.js";
import type { UploadEntry } from "../../../../services/import/reading/upload.js";
import type { Play } from "../../../../services/import/types.js";

/** Real export files, kept beside the repository because they are not ours to publish. */
const FIXTURES = path.resolve(import.meta.dirname, "../../../../../shared/fixtures/youtube-takeout");
const CONTEXT = { name: "x", includeIncognito: false, now: Date.UTC(2026, 0, 1) };

interface Expected {
  readonly file: string;
  readonly format: string;
  readonly verdicts: Readonly<Record<string, number>>;
}

const EXPECTED: readonly Expected[] = [
  {
    file: "tr-2025/watch-history.json",
    format: "youtube-json",
    verdicts: { play: 727, not_music: 178, removed: 10, not_a_play: 5 },
  },
  { file: "us-2022/watch-history.json", format: "youtube-json", verdicts: { play: 593 } },
  {
    file: "edge-6/watch-history.json",
    format: "youtube-json",
    verdicts: { not_music: 3, not_a_play: 1, ad: 2 },
  },
  {
    file: "in-2025-html/watch-history.html",
    format: "youtube-html",
    verdicts: { play: 125, not_music: 121, ad: 28, not_a_play: 5, removed: 3 },
  },
];

async function judgeFile(file: string): Promise<{ format: string; verdicts: object; plays: Play[] }> {
  const location = path.join(FIXTURES, file);
  const open = (): Promise<ReturnType<typeof createReadStream>> =>
    Promise.resolve(createReadStream(location));
  const entry: UploadEntry = {
    index: 0,
    name: "renamed",
    sizeBytes: (await stat(location)).size,
    problem: null,
    open,
  };
  const { format } = await detectFormat(entry);
  const surveyor = format?.survey?.begin(CONTEXT.now);
  if (format === undefined || surveyor === undefined) throw new Error(`${file} was not recognised`);
  const values: unknown[] = [];
  for await (const { records } of readRecords(await open(), { format, recordMaxBytes: 64 * 1024 })) {
    for (const record of records) {
      if ("reason" in record) throw new Error(`${file}: record ${record.position} is ${record.reason}`);
      surveyor.see(record.value, record.position);
      values.push(record.value);
    }
  }
  const judge = surveyor.finish();
  const verdicts: Record<string, number> = {};
  const plays: Play[] = [];
  values.forEach((value, position) => {
    const verdict = judge(value, CONTEXT, position);
    const kind = verdict.verdict === "play" ? "play" : verdict.reason;
    verdicts[kind] = (verdicts[kind] ?? 0) + 1;
    if (verdict.verdict === "play") plays.push(verdict.play);
  });
  return { format: format.name, verdicts, plays };
}

describe("real exports of YouTube", () => {
  before(function () {
    if (existsSync(FIXTURES)) return;
    console.error(`skipped: no real export files at ${FIXTURES}`);
    this.skip();
  });

  for (const { file, ...expected } of EXPECTED) {
    it(`have every record of ${file} counted once, by reason`, async () => {
      const { format, verdicts, plays } = await judgeFile(file);
      expect({ format, verdicts }).to.deep.equal(expected);
      expect(new Set(plays.map(({ sourceKey }) => sourceKey.toString("hex"))).size).to.equal(plays.length);
      for (const play of plays) {
        expect(play.playedAt).to.be.within(play.startEarliest, play.startLatest);
        expect([play.artist, play.title, play.counted]).to.not.include.oneOf(["", false]);
        expect(play.artist).to.not.match(/ - Topic$/);
        expect(play.title).to.not.match(/^Watched\s/);
      }
    });
  }
});
