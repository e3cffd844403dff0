import { expect } from "chai";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const read = (file: string): string => readFileSync(path.join(ROOT, file), "utf8");

describe("docs/API.md", () => {
  it("lists every endpoint of the OpenAPI document, and no other", () => {
    const { paths } = JSON.parse(read("api/openapi/openapi.json")) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const offered = Object.entries(paths)
      .filter(([address]) => !/^\/(docs|openapi)/.test(address) && !address.startsWith("/api/v1/health"))
      .flatMap(([address, operations]) =>
        Object.keys(operations).map(
          (method) => `${method.toUpperCase()} ${address.replace(/^\/api\/v1/, "")}`,
        ),
      );
    const listed = [...read("docs/API.md").matchAll(/^\| `((?:GET|POST|PUT|PATCH|DELETE) [^`]+)`/gm)].map(
      (match) => match[1],
    );
    expect(listed.sort()).to.deep.equal(offered.sort());
  });
});
