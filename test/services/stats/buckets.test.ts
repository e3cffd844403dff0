import { expect } from "chai";
import { type Bucket, bucketSums, MAX_BUCKETS, refuseTooMany } from "../../../services/stats/buckets.js";
import { ValidationError } from "../../../utils/errors.js";
import { parseLocalDate } from "../../../utils/timeZones.js";
import { NO_ACTIVITY } from "./reckoning.js";

const MINUTE_MS = 60_000;
const day = (text: string): number => parseLocalDate(text) ?? NaN;
const range = (from: string, until: string) => ({ from: new Date(from), until: new Date(until) });
const names = (bucket: Bucket, from: string, until: string, zone: string): string[] =>
  bucketSums(NO_ACTIVITY, bucket, range(from, until), zone).map((sum) => sum.bucket);

describe("buckets", () => {
  it("are all that a range touches, with and without plays", () => {
    const sums = bucketSums(
      { keys: [day("2024-03-01"), day("2024-03-03")], plays: [2, 1], ms: [10, 5] },
      "day",
      range("2024-02-29T12:00:00Z", "2024-03-04T00:00:00Z"),
      "UTC",
    );
    expect(sums).to.deep.equal([
      { bucket: "2024-02-29", plays: 0, msPlayed: 0 },
      { bucket: "2024-03-01", plays: 2, msPlayed: 10 },
      { bucket: "2024-03-02", plays: 0, msPlayed: 0 },
      { bucket: "2024-03-03", plays: 1, msPlayed: 5 },
    ]);
  });

  it("go from the first to the last play where the range is open, and are none without plays", () => {
    const activity = { keys: [day("2023-12-31"), day("2024-03-01")], plays: [1, 1], ms: [0, 0] };
    expect(bucketSums(activity, "month", {}, "UTC").map(({ bucket }) => bucket)).to.deep.equal([
      "2023-12-01",
      "2024-01-01",
      "2024-02-01",
      "2024-03-01",
    ]);
    const until = { until: new Date("2025-01-01T00:00:00Z") };
    expect(bucketSums(activity, "year", until, "UTC").map(({ plays }) => plays)).to.deep.equal([1, 1]);
    for (const bucket of ["hour", "day", "year"] as const) {
      expect(bucketSums(NO_ACTIVITY, bucket, {}, "UTC")).to.deep.equal([]);
      expect(names(bucket, "2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "UTC")).to.deep.equal([]);
    }
  });

  it("have weeks from Monday to Sunday, over the ends of years too", () => {
    const weeks = names("week", "2024-12-29T00:00:00Z", "2025-01-07T00:00:00Z", "UTC");
    expect(weeks).to.deep.equal(["2024-12-23", "2024-12-30", "2025-01-06"]);
    expect(names("week", "1969-12-31T00:00:00Z", "1970-01-05T00:00:01Z", "UTC")).to.deep.equal([
      "1969-12-29",
      "1970-01-05",
    ]);
  });

  it("leave out the hour that clocks leave out, and have twice the one they show twice", () => {
    const zone = "Europe/Amsterdam";
    expect(names("hour", "2024-03-31T00:00:00Z", "2024-03-31T02:00:00Z", zone)).to.deep.equal([
      "2024-03-31T01:00:00+01:00",
      "2024-03-31T03:00:00+02:00",
    ]);
    expect(names("hour", "2024-10-26T23:30:00Z", "2024-10-27T02:00:00Z", zone)).to.deep.equal([
      "2024-10-27T01:00:00+02:00",
      "2024-10-27T02:00:00+02:00",
      "2024-10-27T02:00:00+01:00",
    ]);
  });

  it("follow clocks that are put by half an hour", () => {
    const zone = "Australia/Lord_Howe";
    expect(names("hour", "2024-04-06T14:00:00Z", "2024-04-06T16:00:00Z", zone)).to.deep.equal([
      "2024-04-07T01:00:00+11:00",
      "2024-04-07T01:00:00+10:30",
      "2024-04-07T02:00:00+10:30",
    ]);
    const backwards = bucketSums(
      { keys: [Date.UTC(2024, 3, 6, 14, 30) / MINUTE_MS], plays: [3], ms: [0] },
      "hour",
      range("2024-04-06T14:00:00Z", "2024-04-06T16:00:00Z"),
      zone,
    );
    expect(backwards.map(({ plays }) => plays)).to.deep.equal([0, 3, 0]);
    expect(names("hour", "2024-10-05T14:30:00Z", "2024-10-05T16:00:00Z", zone)).to.deep.equal([
      "2024-10-06T01:00:00+10:30",
      "2024-10-06T02:00:00+11:00",
    ]);
  });

  it("leave out the day that a zone has left out, and have one of 23 hours and one of 25", () => {
    // Samoa went over the date line; the calendar has the day all the same, and nothing was played on it.
    const apia = bucketSums(
      { keys: [day("2011-12-29"), day("2011-12-31")], plays: [1, 1], ms: [0, 0] },
      "day",
      {},
      "Pacific/Apia",
    );
    expect(apia.map(({ plays }) => plays)).to.deep.equal([1, 0, 1]);
    const hours = (from: string, until: string) => names("hour", from, until, "Europe/Amsterdam").length;
    expect(hours("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z")).to.equal(23);
    expect(hours("2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z")).to.equal(25);
  });

  it("are enough for each hour of a year, and not without end", () => {
    const hours = names("hour", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "America/St_Johns");
    // St. John's is half an hour off: the range begins and ends in the middle of an hour.
    expect(hours).to.have.length(366 * 24 + 1);
    expect(() => names("hour", "2020-01-01T00:00:00Z", "2024-01-01T00:00:00Z", "UTC")).to.throw(
      ValidationError,
    );
    const open = { keys: [0, (MAX_BUCKETS + 1) * 60], plays: [1, 1], ms: [0, 0] };
    expect(() => bucketSums(open, "hour", {}, "UTC")).to.throw(ValidationError);
    expect(() => refuseTooMany("day", range("0001-01-01T00:00:00Z", "2024-01-01T00:00:00Z"))).to.throw(
      ValidationError,
    );
    refuseTooMany("year", range("0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"));
    refuseTooMany("day", range("2000-01-01T00:00:00Z", "2027-01-01T00:00:00Z"));
  });
});
