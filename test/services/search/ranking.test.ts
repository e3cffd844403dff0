import { expect } from "chai";
import { scoreOf } from "../../../services/search/ranking.js";
import { plainName, type Query, readQuery } from "../../../services/search/words.js";

const score = (q: string, name: string, popularity = 0, asTyped = true): number =>
  scoreOf(
    readQuery(q) as Query,
    { entity: "track", id: 1, name: plainName(name), popularity, asTyped },
    asTyped ? "typed" : "repaired",
  );

/** Each better than the next. */
function expectOrder(scores: readonly number[]): void {
  expect(scores).to.deep.equal([...scores].sort((a, b) => b - a));
  expect(new Set(scores).size).to.equal(scores.length);
  for (const each of scores) expect(each).to.be.within(0, 1);
}

describe("the score of a result", () => {
  it("is the higher the nearer its name is to the query", () => {
    expectOrder([
      score("halo", "Halo"),
      score("halo", "Halo of Flies"),
      score("halo", "A Halo"),
      score("halo", "Under the Halo of the Moon"),
      score("halo", "Crazy in Love"),
    ]);
    expectOrder([
      score("queen halo", "Halo"),
      score("queen halo", "Halo of Flies"),
      score("queen halo", "Flies"),
    ]);
  });

  it("is that of the name also where it is written in another way", () => {
    expectOrder([
      score("kendrik lamr", "Kendrick Lamar", 0, false),
      score("kendrik lamr", "Kendrick Lamar live", 0, false),
      score("kendrik lamr", "FEEL.", 0, false),
    ]);
    expectOrder([score("ac/dc", "AC/DC"), score("acdc", "AC/DC"), score("acdc", "Live")]);
    expectOrder([score("夜行", "夜行バス"), score("行バ", "夜行バス"), score("行バ", "始発")]);
  });

  it("is the higher the more it is played, and lower where a slip had to be repaired", () => {
    expectOrder([
      score("halo", "Halo", 1e6),
      score("halo", "Halo", 1000),
      score("halo", "Halo", 10),
      score("halo", "Halo"),
    ]);
    expectOrder([score("halo", "Halo"), score("helo", "Halo", 0, false)]);
  });
});
