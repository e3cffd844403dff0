import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect } from "chai";
import { FORMATS } from "../../services/import/formats/index.js";

const ROOT = path.resolve(import.meta.dirname, "../..");
const GUIDE = readFileSync(path.join(ROOT, "docs/ADDING_A_FORMAT.md"), "utf8");

describe("docs/ADDING_A_FORMAT.md", () => {
  it("shows code that is in the tree, word for word", () => {
    const source = readFileSync(path.join(ROOT, "services/import/formats/maloja.ts"), "utf8");
    const pieces = [...GUIDE.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ""]) => code);
    expect(pieces).to.have.length(5);
    for (const piece of pieces) expect(source).to.contain(piece);
  });

  it("names the containers that formats have, and files that exist", () => {
    const told = [...GUIDE.matchAll(/^\| `([a-z-]+)` +\|/gm)].map(([, name]) => name);
    for (const { container } of FORMATS) expect(told).to.include(container);
    const links = [...GUIDE.matchAll(/\]\(([^)#]+)\)/g)].map(([, link = ""]) => link);
    const named = [...GUIDE.matchAll(/`((?:services|test|db)\/[\w./-]+\.ts)`/g)].map(
      ([, file = ""]) => `../${file}`,
    );
    for (const file of [...links, ...named]) {
      const location = path.join(ROOT, "docs", file);
      expect(readdirSync(path.dirname(location)), file).to.include(path.basename(location));
    }
  });
});
