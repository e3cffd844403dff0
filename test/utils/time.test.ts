import { expect } from "chai";
import { daysInMonth, parseInstant } from "../../utils/time.js";

describe("parseInstant", () => {
  const accepted: Record<string, string> = {
    "2024-02-29T12:34:56Z": "2024-02-29T12:34:56.000Z",
    "2024-02-29T12:34:56.7Z": "2024-02-29T12:34:56.700Z",
    "2024-02-29T12:34:56.789999999Z": "2024-02-29T12:34:56.789Z",
    "2024-03-01T00:30:00+01:00": "2024-02-29T23:30:00.000Z",
    "2024-12-31T23:30:00-01:30": "2025-01-01T01:00:00.000Z",
    "2000-02-29T00:00:00+00:00": "2000-02-29T00:00:00.000Z",
    "2024-06-30T23:59:59+14:00": "2024-06-30T09:59:59.000Z",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00.000Z",
    "0099-05-05T00:00:00Z": "0099-05-05T00:00:00.000Z",
    "9999-12-31T23:59:59.999Z": "9999-12-31T23:59:59.999Z",
  };
  for (const [text, iso] of Object.entries(accepted)) {
    it(`reads ${text}`, () => {
      expect(parseInstant(text)?.toISOString()).to.equal(iso);
    });
  }

  const refused = [
    "",
    "2024",
    "2024-02",
    "2024-02-29",
    "2024-02-29T12:34Z",
    "2024-02-29T12:34:56",
    "2024-02-29 12:34:56Z",
    "2024-02-30T00:00:00Z",
    "2023-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2024-04-31T00:00:00Z",
    "2024-00-01T00:00:00Z",
    "2024-13-01T00:00:00Z",
    "2024-01-00T00:00:00Z",
    "2024-01-32T00:00:00Z",
    "2024-01-01T24:00:00Z",
    "2024-01-01T00:60:00Z",
    "2016-12-31T23:59:60Z",
    "2024-01-01T00:00:00+24:00",
    "2024-01-01T00:00:00+01:60",
    "2024-01-01T00:00:00+0100",
    "2024-01-01T00:00:00+01",
    "2024-01-01t00:00:00z",
    "2024-01-01T00:00:00.Z",
    "2024-01-01T00:00:00,5Z",
    "+275760-09-13T00:00:00Z",
    "-000001-01-01T00:00:00Z",
    "0000-12-31T23:59:59Z",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "now",
    "yesterday",
    "infinity",
    "1e15",
    "foo 5",
    " 2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00Z\n",
    "２０２４-01-01T00:00:00Z",
  ];
  for (const text of refused) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      expect(parseInstant(text)).to.equal(null);
    });
  }

  it("agrees with the calendar of Date on every day of four centuries", () => {
    let checked = 0;
    for (let year = 1800; year < 2200; year += 1) {
      for (let month = 1; month <= 12; month += 1) {
        expect(daysInMonth(year, month)).to.equal(new Date(Date.UTC(year, month, 0)).getUTCDate());
        checked += 1;
      }
    }
    expect(checked).to.equal(4800);
  });
});
