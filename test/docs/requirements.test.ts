import { expect } from "chai";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const read = (file: string): string => readFileSync(path.join(ROOT, file), "utf8");

interface Row {
  readonly requirement: string;
  readonly state: string;
  readonly files: readonly string[];
  readonly endpoint: string;
  readonly tests: readonly string[];
}

const quoted = (cell: string): string[] =>
  [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] as string);

/** The rows of the table in the README, without its header, its rule and the headings inside it. */
function requirementRows(): Row[] {
  const section =
    read("README.md").split("## What was asked for, and where it is")[1]?.split("\n## ")[0] ?? "";
  return section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .filter((cells) => !cells[1]?.startsWith("**"))
    .map(([, requirement = "", state = "", file = "", endpoint = "", test = ""]) => ({
      requirement,
      state,
      files: quoted(file),
      endpoint: quoted(endpoint)[0] ?? "",
      tests: quoted(test),
    }));
}

describe("the requirement table of the README", () => {
  const rows = requirementRows();
  const built = rows.filter((row) => !row.state.startsWith("not built yet"));

  it("has a row for each line of the specification", () => {
    expect(rows).to.have.length(62);
  });

  it("says for each row whether it is built", () => {
    const unclear = rows.filter((row) => !/^(built|partly: |not built yet)/.test(row.state));
    expect(unclear).to.deep.equal([]);
  });

  it("names a file and a test for all that is built, and they exist", () => {
    const unnamed = built.filter((row) => row.files.length === 0 || row.tests.length === 0);
    expect(unnamed.map((row) => row.requirement)).to.deep.equal([]);
    const missing = built
      .flatMap((row) => [...row.files, ...row.tests])
      .filter((file) => !existsSync(path.join(ROOT, file)));
    expect(missing).to.deep.equal([]);
  });

  it("names only endpoints that the api has", () => {
    const { paths } = JSON.parse(read("api/openapi/openapi.json")) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const offered = Object.entries(paths).flatMap(([address, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${address.replace(/^\/api\/v1/, "")}`),
    );
    const missing = built.filter((row) => row.endpoint !== "" && !offered.includes(row.endpoint));
    expect(missing.map((row) => row.endpoint)).to.deep.equal([]);
  });

  it("claims nothing for what is not built", () => {
    const claims = rows.filter(
      (row) => row.state.startsWith("not built yet") && row.tests.length + row.files.length > 0,
    );
    expect(claims).to.deep.equal([]);
  });
});
