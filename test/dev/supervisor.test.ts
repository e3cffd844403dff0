import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import { SupervisedProcess } from "../../dev/supervisor.js";
import { eventually, isGone } from "./support.js";

describe("the supervisor", () => {
  let logFolder: string;
  let notes: string[];
  const running: SupervisedProcess[] = [];

  const supervise = (behaviour = ""): SupervisedProcess => {
    const one = new SupervisedProcess({
      name: "api",
      entry: "test/dev/fixtures/entry.ts",
      env: { ...process.env, BEHAVIOUR: behaviour, PLAYLOG_ORPHAN_GRACE_MS: "500" },
      logFolder,
      note: (text) => notes.push(text),
    });
    running.push(one);
    return one;
  };

  beforeEach(() => {
    logFolder = mkdtempSync(path.join(tmpdir(), "playlog-supervisor-test-"));
    notes = [];
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.stop(1000)));
    rmSync(logFolder, { recursive: true, force: true });
  });

  it("starts a process again that was killed, after half a second and then after a whole one", async () => {
    const api = supervise();
    await api.start();
    for (const delay of [0.5, 1]) {
      const pid = api.pid ?? 0;
      process.kill(pid, "SIGKILL");
      await eventually("another process runs", () => api.pid !== undefined && api.pid !== pid);
      await eventually("it says so", () => notes.at(-1) === "api is back");
      expect(notes.at(-2)).to.equal(`api ended (SIGKILL); starting it again in ${delay} s`);
    }
  });

  it("starts a process again that ended by itself, with its exit code in the line", async () => {
    const api = supervise();
    await api.start();
    process.kill(api.pid ?? 0, "SIGTERM");
    await eventually("it is back", () => notes.includes("api is back"));
    expect(notes[0]).to.equal("api ended (exit code 0); starting it again in 0.5 s");
  });

  it("reports a first start that fails, with the end of the log", async () => {
    const outcome = await supervise("fails")
      .start()
      .catch((error: unknown) => (error as Error).message);
    expect(outcome).to.equal("ended at its start (exit code 7)\nthe reason it failed");
    expect(notes).to.deep.equal([]);
  });

  it("stops a process in order and does not start it again", async () => {
    const api = supervise();
    await api.start();
    const pid = api.pid ?? 0;
    await api.stop(5000);
    expect(await isGone(pid)).to.equal(true);
    expect(readFileSync(api.logFile, "utf8")).to.include("stopped in order");
    expect(notes).to.deep.equal([]);
  });

  it("kills a process that does not stop within its grace", async () => {
    const api = supervise("deaf");
    await api.start();
    const pid = api.pid ?? 0;
    const begun = Date.now();
    await api.stop(300);
    expect(await isGone(pid)).to.equal(true);
    expect(Date.now() - begun).to.be.within(250, 3000);
  });

  it("ends even a deaf process that has lost its parent", async () => {
    const { fork } = await import("node:child_process");
    const guard = path.resolve("dev/orphan.mjs");
    const child = fork("test/dev/fixtures/entry.ts", [], {
      execArgv: ["--import", "tsx", "--import", guard],
      env: { ...process.env, BEHAVIOUR: "deaf", PLAYLOG_ORPHAN_GRACE_MS: "300" },
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    await new Promise((resolve) => child.once("message", resolve));
    child.disconnect();
    const code = await new Promise((resolve) => child.once("exit", resolve));
    expect(code).to.equal(1);
  });
});
