import { expect } from "chai";
import { FORMATS, formatByName } from "../../../../services/import/formats/index.js";
import { parseIsoUtc, parseUtcMinute } from "../../../../services/import/formats/times.js";

describe("the formats", () => {
  it("are found by unique names", () => {
    expect(new Set(FORMATS.map(({ name }) => name)).size).to.equal(FORMATS.length);
    for (const format of FORMATS) expect(formatByName(format.name)).to.equal(format);
    expect(formatByName("toString")).to.equal(undefined);
  });

  it("recognise no record that another recognises", () => {
    const records = [
      { ts: "2024-11-28T16:05:23Z", ms_played: 1 },
      { endTime: "2023-01-14 01:24", msPlayed: 1 },
    ];
    const matches = records.map((firstRecord) =>
      FORMATS.filter((format) => format.recognises({ name: "x", firstRecord })).map(({ name }) => name),
    );
    expect(matches).to.deep.equal([["spotify-extended"], ["spotify-account"]]);
  });
});

describe("the times of exports", () => {
  it("are read to the millisecond, over leap days and years", () => {
    for (const iso of [
      "2024-02-29T23:59:59Z",
      "2000-01-01T00:00:00Z",
      "1999-12-31T23:59:59Z",
      "0099-03-01T00:00:00Z",
    ]) {
      expect(parseIsoUtc(iso), iso).to.equal(new Date(iso).getTime());
    }
    expect(parseIsoUtc("2024-01-01T00:00:00.5Z")).to.equal(Date.UTC(2024, 0, 1) + 500);
    expect(parseIsoUtc("2024-01-01T00:00:00.123456Z")).to.equal(Date.UTC(2024, 0, 1) + 123);
    expect(parseUtcMinute("2023-01-14 01:24")).to.equal(Date.UTC(2023, 0, 14, 1, 24));
  });

  it("are none when the calendar or the clock does not have them", () => {
    for (const text of [
      "2023-02-29T00:00:00Z",
      "2024-04-31T00:00:00Z",
      "2024-01-01T00:00:60Z",
      "２024-01-01T00:00:00Z",
    ]) {
      expect(parseIsoUtc(text), text).to.equal(null);
    }
    expect(parseUtcMinute("2100-02-29 00:00")).to.equal(null);
  });
});
