import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import { freePort } from "../../dev/system.mjs";
import { eventually, processesWith, recordOf } from "./support.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");
/** The promise to whoever stops playlog, or loses it. */
const STOP_MS = 30_000;
const GONE_MS = 15_000;

interface Run {
  readonly child: ChildProcess;
  /** Everything printed so far, both streams. */
  output(): string;
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

describe("npm start", function () {
  this.timeout(120_000);
  let home = "";
  let port: number;
  const runs: Run[] = [];
  const account = { email: "start@example.com", username: "start", password: "a long enough password" };

  before(async function () {
    if (process.platform !== "linux") this.skip(); // looks for left processes in /proc
    home = mkdtempSync(path.join(tmpdir(), "playlog-start-test-"));
    chmodSync(home, 0o755); // for the user that PostgreSQL runs as when this is root
    port = await freePort();
  });

  // A test that failed halfway must not make the next ones fail.
  afterEach(async () => {
    for (const { child, exit } of runs.splice(0)) {
      child.kill("SIGKILL");
      await exit;
    }
    await eventually("nothing is left", () => processesWith(home).length === 0, STOP_MS);
  });
  after(() => {
    if (home !== "") rmSync(home, { recursive: true, force: true });
  });

  const launch = (program: string, args: readonly string[]): Run => {
    const given = new Set(["DATABASE_URL", "REDIS_URL", "TEMPORAL_ADDRESS", "TEMPORAL_UI_URL"]);
    const inherited = Object.entries(process.env).filter(
      ([name]) => !given.has(name) && !/^(PLAYLOG_|npm_)/.test(name),
    );
    const child = spawn(program, args, {
      cwd: ROOT,
      env: { ...Object.fromEntries(inherited), PLAYLOG_HOME: home, PORT: String(port), BCRYPT_COST: "4" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let printed = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    }
    const exit = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) =>
      child.once("exit", (code, signal) => resolve({ code, signal })),
    );
    const run = { child, exit, output: () => printed };
    runs.push(run);
    return run;
  };
  const start = (): Run => launch(process.execPath, ["dev/bootstrap.mjs", "start"]);

  const ready = async (run: Run): Promise<string> => {
    const ended = run.exit.then(() => true);
    let over = false;
    void ended.then(() => (over = true));
    return eventually(
      "the ready line",
      () => {
        if (over) throw new Error(`ended before it was ready:\n${run.output()}`);
        return /^playlog ready: (\S+)$[^]*Stop with Ctrl-C/m.exec(run.output())?.[1];
      },
      100_000,
    );
  };

  const post = (where: string, body: object): Promise<Response> =>
    fetch(`http://localhost:${port}/api/v1${where}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const answers = async (): Promise<boolean> => {
    const response = await fetch(`http://localhost:${port}/health/ready`).catch(() => undefined);
    return response?.status === 200;
  };
  const textOf = async (url = ""): Promise<string> => (await fetch(url)).text();
  const nothingLeft = (timeoutMs: number): Promise<boolean> =>
    eventually(`no process of ${home} is left`, () => processesWith(home).length === 0, timeoutMs);
  const pidOf = (entry: string): number => {
    const [pid] = processesWith(home).filter((one) => processesWith(entry).includes(one));
    if (pid === undefined) throw new Error(`no process runs ${entry}`);
    return pid;
  };

  it("serves, restarts what is killed, refuses a second start beside it, and ends in order on SIGTERM", async () => {
    const run = start();
    expect(await ready(run)).to.equal(`http://localhost:${port}`);
    expect(run.output()).to.include(`API docs     http://localhost:${port}/docs`);
    expect(run.output()).to.match(/Temporal UI {2}http:\/\/127\.0\.0\.1:\d+/);
    const [apiMetrics, workerMetrics] = /Metrics {6}(\S+) {2}(\S+)$/m.exec(run.output())?.slice(1) ?? [];
    expect(await textOf(apiMetrics)).to.include("playlog_http_request_seconds");
    expect(await textOf(workerMetrics)).to.include("playlog_imports_open");
    expect(await answers()).to.equal(true);
    expect((await post("/auth/register", account)).status).to.equal(201);

    for (const [name, entry] of [
      ["api", "api/server.ts"],
      ["worker", "activities/worker.ts"],
    ] as const) {
      process.kill(pidOf(entry), "SIGKILL");
      await eventually(`${name} is back`, () => run.output().includes(`${name} is back`), 30_000);
      expect(run.output()).to.include(`${name} ended (SIGKILL); starting it again in 0.5 s`);
    }
    await eventually("it answers again", answers);

    const second = start();
    expect(await second.exit).to.deep.equal({ code: 1, signal: null });
    expect(second.output()).to.match(/^playlog could not start: playlog already runs here \(process \d+/m);
    expect(await answers()).to.equal(true);

    const stopping = Date.now();
    run.child.kill("SIGTERM");
    expect(await run.exit).to.deep.equal({ code: 0, signal: null });
    await nothingLeft(1000);
    expect(Date.now() - stopping).to.be.below(STOP_MS);
  });

  it("has all data when it is started again, and leaves nothing when npm alone is killed", async () => {
    const run = launch("npm", ["start"]);
    await ready(run);
    expect(
      (await post("/auth/login", { login: account.username, password: account.password })).status,
    ).to.equal(200);

    run.child.kill("SIGKILL");
    await nothingLeft(GONE_MS);
  });

  it("stops when npm alone gets a SIGTERM", async () => {
    const run = launch("npm", ["start"]);
    await ready(run);
    run.child.kill("SIGTERM");
    await run.exit;
    await nothingLeft(GONE_MS);
  });

  it("leaves nothing when the start process is killed, and starts again", async () => {
    const run = start();
    await ready(run);
    run.child.kill("SIGKILL");
    await nothingLeft(GONE_MS);
  });

  it("ends everything and says so when the keeper of the servers is killed", async () => {
    const run = start();
    await ready(run);
    process.kill((await recordOf(path.join(home, "servers"))).keeper.pid, "SIGKILL");
    expect(await run.exit).to.deep.equal({ code: 1, signal: null });
    expect(run.output()).to.include("The keeper of the servers has died; stopping");
    await nothingLeft(GONE_MS);
  });

  it("takes a second Ctrl-C for impatience and still ends in order, with the account in place", async () => {
    const run = start();
    await ready(run);
    expect(
      (await post("/auth/login", { login: account.username, password: account.password })).status,
    ).to.equal(200);
    run.child.kill("SIGINT");
    await new Promise((resolve) => setTimeout(resolve, 200));
    run.child.kill("SIGINT");
    expect(await run.exit).to.deep.equal({ code: 0, signal: null });
    await nothingLeft(1000);
  });
});
