import { expect } from "chai";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";

const ROOT = path.join(import.meta.dirname, "../..");
const ADR = path.join(ROOT, "docs/adr");
const read = (file: string): string => readFileSync(path.join(ROOT, file), "utf8");

/** Folders at the root, but for hidden ones (editors make such) and those that git is told to ignore. */
function foldersOfTheTree(): string[] {
  const ignored = read(".gitignore").split("\n");
  return readdirSync(ROOT, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map(({ name }) => `${name}/`)
    .filter((name) => !ignored.includes(name));
}

describe("docs/ARCHITECTURE.md", () => {
  const page = read("docs/ARCHITECTURE.md");
  const folders = foldersOfTheTree();

  it("has a row for each folder of the tree", () => {
    const rows = [...page.matchAll(/^\| `([^`.]+\/)` +\|/gm)].map(([, folder]) => folder);
    expect(rows).to.have.members(folders);
  });

  it("names only files and folders that exist", () => {
    const named = [...page.matchAll(/`([^`\s<>]+)`/g)].map((match) => match[1] as string);
    const paths = named.filter((name) => folders.some((folder) => name.startsWith(folder)));
    expect(paths).to.include("services/import/pace.ts");
    const exists = (name: string): boolean =>
      existsSync(path.join(ROOT, name)) || existsSync(path.join(ROOT, `${name}.ts`));
    expect(paths.filter((name) => !exists(name))).to.deep.equal([]);
  });
});

describe("docs/adr", () => {
  const decisions = readdirSync(ADR).filter((name) => name !== "README.md");

  it("lists each decision under its title, in the order of their numbers", () => {
    const expected = decisions.sort().map((name) => {
      const [, title] = /^# \d+\. (.*)$/m.exec(readFileSync(path.join(ADR, name), "utf8")) ?? [];
      return `- [${name.slice(0, 4)}](${name}) ${title}`;
    });
    const listed = readFileSync(path.join(ADR, "README.md"), "utf8").split("\n");
    expect(listed.filter((line) => line.startsWith("- "))).to.deep.equal(expected);
  });

  it("is linked to by pages that exist", () => {
    const pages = ["README.md", ...readdirSync(path.join(ROOT, "docs")).map((name) => `docs/${name}`)];
    const links = pages
      .filter((name) => name.endsWith(".md"))
      .flatMap((name) => [...read(name).matchAll(/\((?:docs\/)?adr\/(\d[^)#]*)/g)].map((match) => match[1]));
    expect(links).to.not.deep.equal([]);
    expect(links.filter((name) => !decisions.includes(name ?? ""))).to.deep.equal([]);
  });
});
