import { expect } from "chai";
import { detectFormat } from "../../../../services/import/reading/detect.js";
import { LIMITS, buildZip, memoryBlob, openUpload } from "./support.js";

const EXTENDED = { ts: "2024-11-28T16:05:23Z", ms_played: 725, master_metadata_track_name: "x" };
const ACCOUNT = { endTime: "2023-01-14 01:24", artistName: "x", trackName: "y", msPlayed: 75_928 };

async function detect(content: string | Buffer, name = "any.txt"): Promise<string> {
  const upload = await openUpload(memoryBlob(Buffer.from(content)), name, LIMITS);
  const { format, skipped } = await detectFormat(await upload.entry(0));
  return format === undefined ? skipped : format.name;
}

const list = (...records: unknown[]): string => JSON.stringify(records, null, 2);

describe("recognising a format", () => {
  it("goes by content, not by name", async () => {
    expect(await detect(list(EXTENDED), "StreamingHistory0.json")).to.equal("spotify-extended");
    expect(await detect(list(ACCOUNT), "endsong_0.json")).to.equal("spotify-account");
    expect(await detect(list({ endTime: "", podcastName: "", episodeName: "", msPlayed: 1 }))).to.equal(
      "spotify-account",
    );
    expect(await detect(`\ufeff\n${list(EXTENDED)}`)).to.equal("spotify-extended");
  });

  it("is not thrown off by a broken record at the top", async () => {
    expect(await detect(`[{"ts":}, 5, ${JSON.stringify(EXTENDED)}]`)).to.equal("spotify-extended");
    const long = { ...EXTENDED, master_metadata_track_name: "x".repeat(1024 ** 2) };
    expect(await detect(list(long, EXTENDED))).to.equal("spotify-extended");
  });

  it("says why it passes over a file", async () => {
    const cases: readonly [string | Buffer, string][] = [
      ["{}", "unrecognised_format"],
      ['"x"', "unrecognised_format"],
      [list([EXTENDED]), "unrecognised_format"],
      [list({ platform: "x", searchTime: "y", searchQuery: "z" }), "unrecognised_format"],
      [list({ header: "Maps", title: "x", time: "2024-01-01T00:00:00Z" }), "unrecognised_format"],
      ["%PDF-1.7 …", "unrecognised_format"],
      ["", "empty_file"],
      ["  \n", "empty_file"],
      ["[]", "empty_file"],
      ["[{", "file_truncated"],
      [Buffer.from(list(EXTENDED), "utf16le"), "encoding"],
    ];
    for (const [content, code] of cases) {
      expect(await detect(content), String(content).slice(0, 20)).to.equal(code);
    }
    const table = await openUpload(memoryBlob(Buffer.from("singer,song\na,b\n")), "x.csv", LIMITS);
    const { message } = await detectFormat(await table.entry(0));
    expect(message).to.equal("The file is of no known listening history format");
  });

  it("reports what is wrong with an entry that cannot be opened", async () => {
    const zip = buildZip([{ name: "a.json", data: "x", method: 99 }]);
    const upload = await openUpload(memoryBlob(zip), null, LIMITS);
    const detection = await detectFormat(await upload.entry(0));
    expect(detection.skipped).to.equal("entry_unsupported");
    expect(detection.message).to.contain("99");
  });

  it("reads no more of a file than it takes to tell", async () => {
    const pdf = Buffer.concat([Buffer.from("%PDF-1.7"), Buffer.alloc(8 * 1024 ** 2)]);
    const history = Buffer.from(JSON.stringify(Array.from({ length: 100_000 }, () => EXTENDED)));
    for (const [bytes, most] of [
      [pdf, 200_000],
      [history, 600_000],
    ] as const) {
      const blob = memoryBlob(bytes);
      const upload = await openUpload(blob, "x", LIMITS);
      await detectFormat(await upload.entry(0));
      expect(blob.bytesRead).to.be.below(most);
    }
  });

  it("passes errors of the storage on", async () => {
    const blob = memoryBlob(Buffer.from(list(EXTENDED)));
    const upload = await openUpload(blob, "x", LIMITS);
    const entry = await upload.entry(0);
    const failing = { ...entry, open: () => Promise.reject(new Error("disk gone")) };
    let message = "";
    await detectFormat(failing).catch((error: unknown) => {
      message = error instanceof Error ? error.message : "";
    });
    expect(message).to.equal("disk gone");
  });
});
