import { expect } from "chai";
import fc from "fast-check";
import { farKeys, nearKeys, repairable, slipsBetween, slipsIn } from "../../../services/search/spelling.js";

const letter = fc.constantFrom(..."abcdeéжя가");
const word = fc.array(letter, { minLength: 3, maxLength: 12 }).map((letters) => letters.join(""));

/** A letter added, left out, replaced, or two exchanged. */
const slip = fc.record({
  kind: fc.constantFrom("add", "drop", "replace", "swap"),
  at: fc.nat(11),
  by: letter,
});
type Slip = typeof slip extends fc.Arbitrary<infer T> ? T : never;

function withSlip(text: string, { kind, at, by }: Slip): string {
  const letters = [...text];
  const place = at % letters.length;
  const next = Math.min(place + 1, letters.length - 1);
  if (kind === "add") letters.splice(place, 0, by);
  else if (kind === "drop") letters.splice(place, 1);
  else if (kind === "replace") letters[place] = by;
  else [letters[place], letters[next]] = [letters[next] as string, letters[place] as string];
  return letters.join("");
}

describe("spelling", () => {
  it("finds every word that is one slip away by a shared key", () => {
    fc.assert(
      fc.property(word, slip, (known, made) => {
        const typed = withSlip(known, made);
        const keys = new Set(nearKeys(known));
        expect(nearKeys(typed).some((key) => keys.has(key))).to.equal(true);
        expect(slipsBetween(typed, known, 2)).to.be.at.most(1);
      }),
    );
  });

  it("finds words that two slips keep apart, one of them a letter too many", () => {
    fc.assert(
      fc.property(word, slip, fc.nat(11), letter, (known, made, at, by) => {
        const once = [...withSlip(known, made)];
        const typed = once.toSpliced(at % (once.length + 1), 0, by).join("");
        const keys = new Set(nearKeys(known));
        expect([...nearKeys(typed), ...farKeys(typed)].some((key) => keys.has(key))).to.equal(true);
      }),
    );
  });

  it("counts slips, an exchange of neighbours as one", () => {
    expect(slipsBetween("nirvana", "nirvana", 2)).to.equal(0);
    expect(slipsBetween("nirvanna", "nirvana", 2)).to.equal(1);
    expect(slipsBetween("nivrana", "nirvana", 2)).to.equal(1);
    expect(slipsBetween("nibrama", "nirvana", 2)).to.equal(3);
    expect(slipsBetween("metalica", "metallika", 2)).to.equal(2);
    expect(slipsBetween("a", "abcdef", 2)).to.equal(3);
    expect(slipsBetween("가나다", "가다", 1)).to.equal(1);
  });

  it("is the same from both sides", () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(slipsBetween(a, b, 12)).to.equal(slipsBetween(b, a, 12));
      }),
    );
  });

  it("keeps words with letters only, of a length in which a slip is one", () => {
    for (const yes of ["abc", "2pac", "жук", "방탄소년단"]) expect(repairable(yes), yes).to.equal(true);
    for (const no of ["ab", "1999", "夜行", "x".repeat(33)]) expect(repairable(no), no).to.equal(false);
    expect(slipsIn("seven77")).to.equal(1);
    expect(slipsIn("eightxxx")).to.equal(2);
  });
});
