import { expect } from "chai";
import { familiesOf, SOURCE_FILTERS } from "../../../services/history/sources.js";

describe("services/history/sources", () => {
  it("takes a group for all families of its provider", () => {
    expect(familiesOf("spotify")).to.deep.equal(["spotify-extended", "spotify-account", "spotify-live"]);
    expect(familiesOf("apple")).to.deep.equal(["apple-export", "apple-daily", "apple-live"]);
    expect(familiesOf("youtube")).to.deep.equal(["youtube-json", "youtube-html"]);
  });

  it("takes a family for itself, also when another one begins alike", () => {
    expect(familiesOf("manual")).to.deep.equal(["manual"]);
    expect(familiesOf("spotify-live")).to.deep.equal(["spotify-live"]);
    expect(familiesOf("lastfm")).to.deep.equal(["lastfm"]);
  });

  it("knows a family for each filter", () => {
    for (const filter of SOURCE_FILTERS) expect(familiesOf(filter), filter).not.to.be.empty;
  });
});
