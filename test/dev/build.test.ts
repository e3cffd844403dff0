import { type ChildProcess, execFile, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { parse } from "yaml";
import { freePort } from "../../dev/system.mjs";
import { createEmptyDatabase } from "../support/database.js";
import { testStack } from "../support/stack.js";
import { eventually, queryOne } from "./support.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");
const run = promisify(execFile);

interface Compose {
  readonly services: Readonly<
    Record<
      string,
      { readonly command: readonly string[]; readonly environment: Readonly<Record<string, unknown>> }
    >
  >;
}

/** What the images would do, without the images: build, migrate, api, worker, with the settings of the compose file. */
describe("the build that the images run", function () {
  this.timeout(120_000);
  const compose = parse(readFileSync(path.join(ROOT, "docker-compose.yml"), "utf8"), {
    merge: true,
  }) as Compose;
  // Below the repository, where Node finds node_modules; everything in .playlog is ignored by git and the tools.
  const dist = path.join(ROOT, ".playlog", `build-test-${process.pid}`);
  const children: ChildProcess[] = [];
  let home: string;
  let database: Awaited<ReturnType<typeof createEmptyDatabase>>;
  let port: number;
  /** Those of the compose file may be in use here: by another test, or by playlog itself. */
  let opsPorts: readonly [api: number, worker: number];

  before(async () => {
    home = mkdtempSync(path.join(tmpdir(), "playlog-build-test-"));
    database = await createEmptyDatabase();
    port = await freePort();
    opsPorts = [await freePort(), await freePort()];
    await mkdir(dist, { recursive: true });
  });

  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await database.drop();
    for (const folder of [home, dist]) rmSync(folder, { recursive: true, force: true });
  });

  /** A service's environment with the hosts of the compose network replaced by where this run's servers are. */
  const settings = (service: string): NodeJS.ProcessEnv => {
    const environment = Object.entries(compose.services[service]?.environment ?? {}).map(([name, value]) => [
      name,
      String(value).replaceAll(/\$\{\w+:-([^}]*)\}/g, (_, fallback: string) => fallback),
    ]);
    const here: Record<string, string> = {
      DATABASE_URL: database.url,
      REDIS_URL: testStack().redisUrl,
      TEMPORAL_ADDRESS: testStack().temporalAddress,
      TEMPORAL_NAMESPACE: "default",
      TEMPORAL_TASK_QUEUE: `playlog-build-test-${randomUUID()}`,
      PLAYLOG_HOME: home,
      PLAYLOG_WORKFLOW_BUNDLE: path.join(dist, "workflow-bundle.js"),
      HOST: "127.0.0.1",
      PORT: String(port),
      NODE_ENV: "production",
      PATH: process.env["PATH"] ?? "",
    };
    const given: Record<string, string> = { ...Object.fromEntries(environment), ...here };
    for (const [name, opsPort] of [
      ["OPS_PORT", opsPorts[0]],
      ["WORKER_OPS_PORT", opsPorts[1]],
    ] as const)
      if (name in given) given[name] = String(opsPort);
    return given;
  };
  const command = (service: string): { readonly nodeOptions: string[]; readonly file: string } => {
    const [node, ...rest] = compose.services[service]?.command ?? [];
    expect(node).to.equal("node");
    return {
      nodeOptions: rest.slice(0, -1),
      file: path.join(dist, path.relative("dist", rest.at(-1) ?? "")),
    };
  };
  const launch = async (service: string): Promise<{ child: ChildProcess; output: () => string }> => {
    const { nodeOptions, file } = command(service);
    const child = fork(file, { cwd: ROOT, env: settings(service), execArgv: nodeOptions, silent: true });
    children.push(child);
    let printed = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    }
    await Promise.race([
      once(child, "message"),
      once(child, "exit").then(() => {
        throw new Error(`${service} ended at its start:\n${printed}`);
      }),
    ]);
    return { child, output: () => printed };
  };

  it("makes plain JavaScript and one file of workflows by the two commands of npm run build", async () => {
    const { scripts } = JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8")) as {
      scripts: { build: string };
    };
    const commands = scripts.build.split(" && ").map((command) => command.split(" "));
    expect(commands.map(([program]) => program)).to.deep.equal(["tsc", "node"]);
    for (const [program = "", ...args] of commands) {
      const where = args.map((arg) =>
        arg.startsWith("dist/") ? path.join(dist, arg.slice("dist/".length)) : arg,
      );
      if (program === "tsc") {
        const compiler = path.join(ROOT, "node_modules", "typescript", "bin", "tsc");
        // What it writes is the same without the types being checked, which takes most of its time.
        await run(process.execPath, [compiler, ...where, "--noCheck", "--outDir", dist], { cwd: ROOT });
      } else {
        await run(process.execPath, where, { cwd: ROOT });
      }
    }
    expect(readFileSync(path.join(dist, "workflow-bundle.js"), "utf8")).to.include("importHistory");
  });

  it("migrates an empty database, and does nothing the second time", async () => {
    await run(process.execPath, [command("migrate").file], { cwd: ROOT, env: settings("migrate") });
    const tables = "select count(*)::int from pg_tables where schemaname = 'public'";
    const made = await queryOne(database.url, tables);
    expect(made).to.be.greaterThan(10);
    await run(process.execPath, [command("migrate").file], { cwd: ROOT, env: settings("migrate") });
    expect(await queryOne(database.url, tables)).to.equal(made);
  });

  it("serves from an api and a worker that become ready and stop in order", async () => {
    const [api, worker] = await Promise.all([launch("api"), launch("worker")]);

    const response = await eventually("the api is ready", async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/health/ready`);
      return answer.status === 200 && answer;
    });
    expect(response.headers.get("content-type")).to.match(/json/);
    const docs = await fetch(`http://127.0.0.1:${port}/docs`);
    expect(docs.status).to.equal(200);

    for (const { child, output } of [api, worker]) {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      expect(await ended, output()).to.deep.equal([0, null]);
    }
  });
});
