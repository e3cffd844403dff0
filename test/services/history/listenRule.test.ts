import { expect } from "chai";
import { countsAsListen } from "../../../services/history/listenRule.js";

const counts = (msPlayed: number | null, durationMs: number | null): boolean =>
  countsAsListen({ msPlayed, durationMs });

describe("what counts as a listen", () => {
  it("without a duration is 30 seconds", () => {
    expect([counts(0, null), counts(29_999, null), counts(30_000, null)]).to.deep.equal([false, false, true]);
  });

  it("with a duration is half of it, from tracks of 30 seconds on", () => {
    expect([counts(99_999, 200_000), counts(100_000, 200_000)]).to.deep.equal([false, true]);
    expect([counts(15_000, 30_000), counts(29_999, 29_999)]).to.deep.equal([true, false]);
    expect(counts(0, 0)).to.equal(false);
  });

  it("is four minutes of anything", () => {
    expect([counts(239_999, 3_600_000), counts(240_000, 3_600_000)]).to.deep.equal([false, true]);
  });

  it("is every play of a source that does not say how long", () => {
    expect([counts(null, null), counts(null, 10_000)]).to.deep.equal([true, true]);
  });
});
