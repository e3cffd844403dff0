import { expect } from "chai";
import { existsSync } from "node:fs";
import path from "node:path";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { detectFormat } from "../../../../services/import/reading/detect.js";
import { readRecords } from "../../../../services/import/reading/records.js";
import type { UploadEntry } from "../../../../services/import/reading/upload.js";
import type { Play } from "../../../../services/import/types.js";

/** Real export files, kept beside the repository because they are not ours to publish. */
const FIXTURES = path.resolve(import.meta.dirname, "../../../../../shared/fixtures");
const NOW = Date.UTC(2026, 0, 1);

interface Expected {
  readonly file: string;
  readonly format: string;
  readonly verdicts: Readonly<Record<string, number>>;
  /** Plays of 0 ms and of at least 30 s. */
  readonly silent: number;
  readonly counted: number;
}

const EXPECTED: readonly Expected[] = [
  {
    file: "spotify-extended/koito/Streaming_History_Audio_spotify_import_test.json",
    format: "spotify-extended",
    verdicts: { play: 39 },
    silent: 0,
    counted: 17,
  },
  {
    file: "spotify-extended/nl-2024/Streaming_History_Audio_2024-2025_3.json",
    format: "spotify-extended",
    verdicts: { play: 2557, podcast: 13 },
    silent: 5,
    counted: 2004,
  },
  {
    file: "spotify-extended/nl-2024/Streaming_History_Video_2020-2024.json",
    format: "spotify-extended",
    verdicts: { podcast: 1917, video: 212 },
    silent: 0,
    counted: 0,
  },
  {
    file: "spotify-extended/us-2023-21key/Streaming_History_Audio_2023_5.json",
    format: "spotify-extended",
    verdicts: { play: 5046 },
    silent: 86,
    counted: 2120,
  },
  {
    file: "spotify-extended/endsong-tiny/endsong_0.json",
    format: "spotify-extended",
    verdicts: { play: 9, podcast: 1 },
    silent: 0,
    counted: 8,
  },
  {
    file: "spotify-account/2022/StreamingHistory0.json",
    format: "spotify-account",
    verdicts: { play: 9595 },
    silent: 23,
    counted: 8585,
  },
  {
    file: "spotify-account/2024/StreamingHistory_music_0.json",
    format: "spotify-account",
    verdicts: { play: 10_000 },
    silent: 59,
    counted: 8456,
  },
  {
    file: "spotify-account/2024/StreamingHistory_music_1.json",
    format: "spotify-account",
    verdicts: { play: 8083 },
    silent: 33,
    counted: 6766,
  },
  {
    file: "spotify-account/podcast/StreamingHistory_podcast_0.json",
    format: "spotify-account",
    verdicts: { podcast: 206 },
    silent: 0,
    counted: 0,
  },
  {
    file: "spotify-account/audiobook/StreamingHistory_audiobook_0.json",
    format: "spotify-account",
    verdicts: { audiobook: 4 },
    silent: 0,
    counted: 0,
  },
  {
    file: "lastfm/ghan-json/recenttracks-shoko2-1749776100.json",
    format: "lastfm-pages",
    verdicts: { play: 10 },
    silent: 0,
    counted: 10,
  },
  {
    file: "maloja/maloja_import_test.json",
    format: "maloja",
    verdicts: { play: 38 },
    silent: 0,
    counted: 38,
  },
  {
    file: "koito/koito_export_test.json",
    format: "koito",
    verdicts: { play: 13 },
    silent: 0,
    counted: 13,
  },
];

interface Judged {
  readonly format: string;
  readonly verdicts: Record<string, number>;
  readonly plays: Play[];
}

async function judgeFile(file: string, name: string): Promise<Judged> {
  const location = path.join(FIXTURES, file);
  const entry: UploadEntry = {
    index: 0,
    name,
    sizeBytes: (await stat(location)).size,
    problem: null,
    open: () => Promise.resolve(createReadStream(location)),
  };
  const { format } = await detectFormat(entry);
  if (format === undefined) throw new Error(`${file} was not recognised`);
  const verdicts: Record<string, number> = {};
  const plays: Play[] = [];
  for await (const { records } of readRecords(await entry.open(), { format, recordMaxBytes: 64 * 1024 })) {
    for (const record of records) {
      if ("reason" in record) throw new Error(`${file}: record ${record.position} is ${record.reason}`);
      const verdict = format.judge(record.value, { name, includeIncognito: false, now: NOW });
      const kind = verdict.verdict === "play" ? "play" : verdict.reason;
      verdicts[kind] = (verdicts[kind] ?? 0) + 1;
      if (verdict.verdict === "play") plays.push(verdict.play);
    }
  }
  return { format: format.name, verdicts, plays };
}

describe("real exports", () => {
  before(function () {
    if (existsSync(FIXTURES)) return;
    console.error(`skipped: no real export files at ${FIXTURES}`);
    this.skip();
  });

  for (const expected of EXPECTED) {
    it(`counts every row of ${expected.file} once, by reason`, async function () {
      if (!existsSync(path.join(FIXTURES, expected.file))) this.skip();
      const { format, verdicts, plays } = await judgeFile(expected.file, path.basename(expected.file));
      expect(format).to.equal(expected.format);
      expect(verdicts).to.deep.equal(expected.verdicts);
      expect(plays.filter(({ msPlayed }) => msPlayed === 0)).to.have.length(expected.silent);
      expect(plays.filter(({ counted }) => counted)).to.have.length(expected.counted);
      // No row of these files is an exact repeat, so none may share its identity.
      expect(new Set(plays.map(({ sourceKey }) => sourceKey.toString("hex"))).size).to.equal(plays.length);
      for (const play of plays) {
        expect(play.playedAt).to.be.within(play.startEarliest, play.startLatest);
        expect(play.endedAt ?? Infinity).to.be.at.least(play.startEarliest);
      }
    });
  }

  it("gives the rows of a renamed video file with tracks as plays", async function () {
    const video = EXPECTED[2]?.file ?? "";
    if (!existsSync(path.join(FIXTURES, video))) this.skip();
    const { verdicts } = await judgeFile(video, "history.json");
    expect(verdicts).to.deep.equal({ podcast: 1917, play: 212 });
  });
});
