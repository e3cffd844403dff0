import { expect } from "chai";
import { createStartHome, GONE_MS, type StartHome, STOP_MS } from "./starting.js";
import { eventually, processesWith } from "./support.js";

describe("npm start", function () {
  this.timeout(120_000);
  let home: StartHome;
  const account = { email: "start@example.com", username: "start", password: "a long enough password" };

  before(async function () {
    if (process.platform !== "linux") this.skip();
    home = await createStartHome();
  });
  afterEach(() => home?.clear());
  after(() => home?.remove());

  const answers = async (): Promise<boolean> => {
    const response = await fetch(`http://localhost:${home.port}/health/ready`).catch(() => undefined);
    return response?.status === 200;
  };
  const textOf = async (url = ""): Promise<string> => (await fetch(url)).text();
  const pidOf = (entry: string): number => {
    const [pid] = processesWith(home.folder).filter((one) => processesWith(entry).includes(one));
    if (pid === undefined) throw new Error(`no process runs ${entry}`);
    return pid;
  };

  it("serves, restarts what is killed, refuses a second start beside it, and ends in order on SIGTERM", async () => {
    const run = home.start();
    expect(await home.ready(run)).to.equal(`http://localhost:${home.port}`);
    expect(run.output()).to.include(`API docs     http://localhost:${home.port}/docs`);
    expect(run.output()).to.match(/Temporal UI {2}http:\/\/127\.0\.0\.1:\d+/);
    const [apiMetrics, workerMetrics] = /Metrics {6}(\S+) {2}(\S+)$/m.exec(run.output())?.slice(1) ?? [];
    expect(await textOf(apiMetrics)).to.include("playlog_http_request_seconds");
    expect(await textOf(workerMetrics)).to.include("playlog_imports_open");
    expect(await answers()).to.equal(true);
    expect((await home.post("/auth/register", account)).status).to.equal(201);

    for (const [name, entry] of [
      ["api", "api/server.js"],
      ["worker", "activities/worker.js"],
    ] as const) {
      process.kill(pidOf(entry), "SIGKILL");
      await eventually(`${name} is back`, () => run.output().includes(`${name} is back`), 30_000);
      expect(run.output()).to.include(`${name} ended (SIGKILL); starting it again in 0.5 s`);
    }
    await eventually("it answers again", answers);

    const second = home.start();
    expect(await second.exit).to.deep.equal({ code: 1, signal: null });
    expect(second.output()).to.match(/^playlog could not start: playlog already runs here \(process \d+/m);
    expect(await answers()).to.equal(true);

    const stopping = Date.now();
    run.child.kill("SIGTERM");
    expect(await run.exit).to.deep.equal({ code: 0, signal: null });
    await home.nothingLeft(1000);
    expect(Date.now() - stopping).to.be.below(STOP_MS);
  });

  it("has all data when it is started again, and leaves nothing when npm alone is killed", async () => {
    const run = home.launch("npm", ["start"]);
    await home.ready(run);
    expect(
      (await home.post("/auth/login", { login: account.username, password: account.password })).status,
    ).to.equal(200);

    run.child.kill("SIGKILL");
    await home.nothingLeft(GONE_MS);
  });
});
