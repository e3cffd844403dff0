import { expect } from "chai";
import { looseKey, nameKey } from "../../../services/catalog/keys.js";

/** Expects all `names` to have one key, and that to be `key`. */
function same(key: string, ...names: string[]): void {
  for (const name of names) expect(nameKey(name), JSON.stringify(name)).to.equal(key);
}

function different(...names: string[]): void {
  expect(new Set(names.map(nameKey)).size, names.join(" | ")).to.equal(names.length);
}

const song = (title: string): string => looseKey("a", title);

describe("the key of a name", () => {
  it("ignores case in every script, by Unicode and by no locale", () => {
    same("kraftwerk", "Kraftwerk", "KRAFTWERK");
    same("björk", "BJÖRK", "Björk", "Bjo\u0308rk");
    same("strasse", "Straße", "STRASSE", "STRA\u1e9eE");
    same("οδοσ", "ΟΔΟΣ", "οδος", "οδοσ");
    same("земфира", "ЗЕМФИРА", "Земфира");
    same("ilhan", "ILHAN", "Ilhan");
    same("\u0131lhan", "\u0131lhan", "\u0131LHAN");
    different("ILHAN", "\u0131lhan");
    expect(nameKey("\u0130lhan")).to.equal(nameKey("i\u0307lhan"));
  });

  it("takes compatible forms of a character for one", () => {
    same("abba", "ＡＢＢＡ", "abba");
    same("カタカナ", "ｶﾀｶﾅ", "カタカナ");
    same("ﬁre".normalize("NFKC"), "ﬁre", "FIRE");
    same("...", "…", "...");
  });

  it("unifies quotes, hyphens and spaces", () => {
    same("don't stop", "Don't Stop", "Don’t Stop", "Don‘t  Stop", "Don´t\u00a0Stop", "Don`t\u3000Stop ");
    same('"heroes"', '"Heroes"', "“Heroes”", "„Heroes“", "«Heroes»");
    same("jay-z", "Jay-Z", "Jay\u2010Z", "Jay\u2011Z", "Jay\u2013Z", "Jay\u2212Z");
    same("a b", "a\tb", "a \n b", "\ufeffa b", "a\u200b b");
  });

  it("keeps apart what is not the same", () => {
    different("Tyler, The Creator", "Tyler", "The Creator");
    different("Earth, Wind & Fire", "Earth Wind Fire");
    different("AC/DC", "ACDC");
    different("+/-", "-", "+");
    different("Beyoncé", "Beyonce");
    different("か", "が");
    different("x - Live", "x - Remix", "x", "x - Remastered 2011");
    different("😀", "😁");
    different("👨‍👩‍👧", "👨👩👧");
  });

  it("is never empty, however little the name holds", () => {
    for (const name of ["😀", "音", "!!!", "\u200b", "\u00ad", " ", "", "\ud83d", "´", "\u0301"]) {
      expect(nameKey(name), JSON.stringify(name)).to.not.equal("");
      expect(looseKey(name, name), JSON.stringify(name)).to.match(/^[^\u001f]+\u001f[^\u001f]+$/);
    }
    different("!!!", "???");
    same("\ufffd", "\ud83d", "\ufffd");
  });

  it("gives its own key back", () => {
    const names = [
      "Straße",
      "ΟΔΟΣ",
      "Don´t",
      "ＡＢＢＡ",
      "“x”",
      "\u0130",
      "\u0149",
      "ŒUVRE",
      "\u1e9e",
      "\u01f0",
      "ᾳ",
    ];
    for (const name of names) expect(nameKey(nameKey(name)), name).to.equal(nameKey(name));
  });

  it("is the same whether or not a name beyond ASCII takes the long way", () => {
    const ascii = Array.from({ length: 95 }, (_, n) => String.fromCharCode(32 + n)).join("");
    // The word joiner is invisible, so that it changes the way and not the key.
    expect(nameKey(`${ascii}\u2060x`)).to.equal(nameKey(`${ascii}x`));
  });

  it("fits into 1,000 bytes and stays distinct beyond", () => {
    const long = "音".repeat(400);
    for (const key of [nameKey(long), nameKey(`${long}x`), looseKey(long, long), nameKey("a".repeat(1001))]) {
      expect(Buffer.byteLength(key)).to.be.within(990, 1000);
      expect(key)
        .to.match(/#[0-9a-f]{64}$/)
        .and.not.contain("\ufffd");
    }
    different(long, `${long}x`);
    expect(nameKey("a".repeat(1000))).to.equal("a".repeat(1000));
  });
});

describe("the loose key of a recording", () => {
  it("ignores accents, guests in brackets and remaster notes", () => {
    expect(looseKey("Beyoncé", "Déjà Vu")).to.equal(looseKey("beyonce", "deja vu"));
    for (const title of [
      "Gloria (with SZA)",
      "Gloria (feat. SZA)",
      "Gloria [ft. SZA]",
      "Gloria (Featuring SZA)",
      "Gloria - Remastered 2011",
      "Gloria - 2011 Remaster",
      "Gloria - Remastered",
      "Gloria (2011 Digital Remaster)",
      "Gloria [Remastered]",
      "Gloria (feat. SZA) - Remastered Version",
    ]) {
      expect(song(title), title).to.equal(song("gloria"));
    }
  });

  it("keeps other recordings and titles apart", () => {
    const titles = [
      "Gloria",
      "Gloria - Live",
      "Gloria - Live / Remastered",
      "Gloria (Live)",
      "Gloria - Remix",
      "Gloria (Acoustic)",
      "Gloria - Mono / Remastered",
      "Gloria With You",
      "Gloria (Without Me)",
    ];
    expect(new Set(titles.map(song)).size).to.equal(titles.length);
    expect(looseKey("a", "か")).to.not.equal(looseKey("a", "が"));
    expect(looseKey("ab", "c")).to.not.equal(looseKey("a", "bc"));
  });

  it("falls back to the whole title when nothing else is left", () => {
    expect(song("(feat. SZA)")).to.equal("a\u001f(feat. sza)");
    expect(song("\u0301")).to.not.equal("a\u001f");
  });

  it("stays fast on titles made to slow it down", () => {
    const started = performance.now();
    for (const title of [
      "(with ".repeat(600),
      " - remaster".repeat(300),
      "( ".repeat(2000),
      " ".repeat(4000),
    ]) {
      looseKey(title, title);
    }
    expect(performance.now() - started).to.be.below(500);
  });
});
