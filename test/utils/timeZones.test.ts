import { expect } from "chai";
import {
  canonicalTimeZone,
  dateText,
  dayNumber,
  isTimeZone,
  localDay,
  offsetAt,
  OffsetClock,
  parseLocalDate,
  startOfDay,
} from "../../utils/timeZones.js";

const HOUR_MS = 3_600_000;
const day = (text: string): number => parseLocalDate(text) ?? NaN;

describe("utils/timeZones", () => {
  it("knows zones by their names, in any spelling, and by nothing else", () => {
    for (const name of ["UTC", "Europe/Amsterdam", "america/argentina/buenos_aires", "Etc/GMT+5", "GMT"])
      expect(isTimeZone(name), name).to.equal(true);
    const wrong = [
      "",
      "+02:00",
      "Europe/Atlantis",
      "GMT+2",
      "UTC+2",
      "local",
      "Europe/Amsterdam ",
      "<+02>-02",
      "x".repeat(65),
    ];
    for (const name of wrong) expect(isTimeZone(name), name).to.equal(false);
  });

  it("tells two names of one zone to be the same", () => {
    const same = (a: string, b: string): boolean => canonicalTimeZone(a) === canonicalTimeZone(b);
    expect(same("Asia/Kolkata", "Asia/Calcutta")).to.equal(true);
    expect(same("europe/AMSTERDAM", "Europe/Amsterdam")).to.equal(true);
    expect(same("Europe/Amsterdam", "Europe/Lisbon")).to.equal(false);
  });

  it("reads dates strictly", () => {
    expect(dateText(day("2024-02-29"))).to.equal("2024-02-29");
    expect(day("1970-01-01")).to.equal(0);
    expect(day("0001-01-01")).to.equal(dayNumber(1, 1, 1));
    for (const text of [
      "2023-02-29",
      "2024-13-01",
      "2024-00-10",
      "2024-1-1",
      "20240101",
      "0000-01-01",
      "2024-01-01T00:00:00Z",
    ])
      expect(parseLocalDate(text), text).to.equal(null);
  });

  const starts: readonly (readonly [zone: string, date: string, start: string, why: string])[] = [
    ["UTC", "2024-01-01", "2024-01-01T00:00:00Z", "midnight"],
    ["Europe/Amsterdam", "2024-07-01", "2024-06-30T22:00:00Z", "summer"],
    ["Europe/Amsterdam", "2024-03-31", "2024-03-30T23:00:00Z", "the day clocks go forward"],
    ["Europe/Amsterdam", "2024-10-27", "2024-10-26T22:00:00Z", "the day they go back"],
    ["America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", "no midnight: it begins at one"],
    ["America/Havana", "2024-11-03", "2024-11-03T04:00:00Z", "two midnights: the first"],
    ["America/Sao_Paulo", "2018-02-18", "2018-02-18T03:00:00Z", "23:00 comes twice before"],
    ["Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", "a day that was left out"],
    ["Pacific/Kiritimati", "2024-01-01", "2023-12-31T10:00:00Z", "far in the east"],
    ["Pacific/Pago_Pago", "2024-01-01", "2024-01-01T11:00:00Z", "far in the west"],
    ["Australia/Lord_Howe", "2024-04-07", "2024-04-06T13:00:00Z", "clocks go back by half an hour"],
  ];
  for (const [zone, date, start, why] of starts) {
    it(`has ${date} begin at ${start} in ${zone}: ${why}`, () => {
      const found = startOfDay(day(date), zone);
      expect(new Date(found).toISOString()).to.equal(new Date(start).toISOString());
      expect(localDay(found, zone)).to.be.at.least(day(date));
      expect(localDay(found - 1, zone)).to.be.below(day(date));
    });
  }

  it("knows the offset of every hour, with or without looking at the zone for each", () => {
    for (const zone of ["Europe/Amsterdam", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca"]) {
      const clock = new OffsetClock(zone);
      const begin = Date.UTC(2010, 0, 1);
      for (let hour = 0; hour < 24 * 366; hour += 1) {
        const instant = begin + hour * HOUR_MS;
        if (clock.at(instant) !== offsetAt(instant, zone))
          expect.fail(`${zone} at ${new Date(instant).toISOString()}`);
      }
    }
    expect(offsetAt(Date.UTC(2024, 6, 1, 12, 0, 0, 1), "Asia/Kathmandu")).to.equal(5.75 * HOUR_MS);
    expect(offsetAt(Date.UTC(2024, 6, 1), "America/St_Johns")).to.equal(-2.5 * HOUR_MS);
  });
});
