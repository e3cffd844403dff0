import { expect } from "chai";
import fc from "fast-check";
import { plainName, readQuery, wordsOf } from "../../../services/search/words.js";

const words = (...names: string[]) => [...wordsOf(names)].sort();
const terms = (query: string) =>
  readQuery(query)?.terms.map((term) => (term.kind === "run" ? term.characters.join("") : term.text)) ?? null;

describe("words of names and queries", () => {
  it("are the same in every case, with and without accents and other signs on letters", () => {
    expect(words("BEYONCÉ")).to.deep.equal(["beyonce"]);
    expect(words("Röyksopp", "Sigur Rós")).to.deep.equal(["ros", "royksopp", "sigur"]);
    expect(words("Mø & Ægir", "Łódź", "Þór")).to.deep.equal(["aegir", "lodz", "mo", "thor"]);
    expect(words("ЗЕМФИРА", "Ёлка")).to.deep.equal(["елка", "земфира"]);
    expect(words("STRASSE", "Straße")).to.deep.equal(["strasse"]);
    expect(words("ＦＵＬＬ ｗｉｄｔｈ")).to.deep.equal(["full", "width"]);
    expect(words("Ὀδυσσεύς")).to.deep.equal(words("οδυσσευσ"));
  });

  it("are found in parts and as a whole where signs join them", () => {
    expect(words("AC/DC")).to.deep.equal(["ac", "acdc", "dc"]);
    expect(words("R.E.M.")).to.deep.equal(["e", "m", "r", "rem"]);
    expect(words("Jay-Z")).to.deep.equal(["jay", "jayz", "z"]);
    expect(words("Don’t")).to.include("dont");
    expect(terms("don't stop")).to.deep.equal(["dont", "stop"]);
    expect(terms("dont stop")).to.deep.equal(["dont", "stop"]);
    expect(terms("ac/dc")).to.deep.equal(["ac", "dc"]);
  });

  it("are pairs of neighbours in scripts without spaces, so that any part of a name finds it", () => {
    expect(words("夜行バス")).to.deep.equal(["バス", "ス", "行バ", "夜行"].sort());
    expect(words("米津玄師 Lemon")).to.include.members(["米津", "津玄", "玄師", "師", "lemon"]);
    expect(words("รักแรกพบ").length).to.equal([..."รักแรกพบ"].length);
    expect(terms("Lemon米津")).to.deep.equal(["lemon", "米津"]);
    expect(words("BTS 방탄소년단")).to.deep.equal(["bts", "방탄소년단"]);
  });

  it("are signs where a name or a query has nothing else", () => {
    expect(words("÷")).to.deep.equal(["÷"]);
    expect(words("!!!")).to.deep.equal(["!!!"]);
    expect(words("I ❤️ U")).to.deep.equal(["i", "u", "❤"]);
    for (const sign of ["%", "_", "\\", "*", "'", "&", "❤", "!!!"])
      expect(terms(sign), sign).to.deep.equal([sign]);
    expect(terms("100% & more")).to.deep.equal(["100", "more"]);
  });

  it("are none for what is empty", () => {
    for (const nothing of ["", "   ", "\u200b", "\u0301", "\u00ad \ufe0f"])
      expect(readQuery(nothing), JSON.stringify(nothing)).to.equal(null);
    expect(plainName(" ")).to.equal("");
  });

  it("are bounded in number and length", () => {
    expect(readQuery("word ".repeat(1000))?.terms.length).to.be.at.most(12);
    expect(words("x".repeat(5000))[0]).to.have.length(40);
    expect(wordsOf([Array.from({ length: 2000 }, (_, n) => `w${n}`).join(" ")]).size).to.be.below(250);
  });

  it("never have a space, and never throw, whatever the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        for (const word of wordsOf([text])) expect(word).to.match(/^\S+$/);
        readQuery(text);
      }),
    );
  });

  it("of a query are words of the document whose name it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 }), (name) => {
        const known = [...wordsOf([name])];
        for (const term of readQuery(name)?.terms ?? []) {
          if (term.kind === "run") continue;
          expect(known.some((word) => word.startsWith(term.text))).to.equal(true);
        }
      }),
    );
  });
});
