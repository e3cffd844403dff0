import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import { freePort } from "../../dev/system.mjs";
import { SPOTIFY_SAMPLE, spotifySampleArchive } from "../../dev/samples/spotifyArchive.js";
import { eventually, processesWith } from "./support.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");

describe("npm run demo", function () {
  this.timeout(120_000);
  let home: string;

  before(() => {
    home = mkdtempSync(path.join(tmpdir(), "playlog-demo-test-"));
    chmodSync(home, 0o755); // for the user that PostgreSQL runs as when this is root
  });
  after(() => rmSync(home, { recursive: true, force: true }));

  /** `demo --exit` with servers of its own; gives the exit code and what it printed. */
  const demo = async (): Promise<{ code: number; output: string }> => {
    const given = /^(PLAYLOG_.*|npm_.*|DATABASE_URL|REDIS_URL|TEMPORAL_ADDRESS|TEMPORAL_UI_URL)$/;
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !given.test(name)));
    const port = String(await freePort());
    return new Promise((resolve) => {
      execFile(
        process.execPath,
        ["dev/bootstrap.mjs", "demo", "--exit"],
        { cwd: ROOT, env: { ...env, PLAYLOG_HOME: home, PORT: port, BCRYPT_COST: "4" } },
        (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: stdout + stderr }),
      );
    });
  };

  it("makes the same archive each time", () => {
    expect(spotifySampleArchive().equals(spotifySampleArchive())).to.equal(true);
  });

  it("imports its archive, shows a ledger that holds and the history, and ends; and again with nothing new", async () => {
    const first = await demo();
    expect(first.code, first.output).to.equal(0);
    expect(first.output).to.match(new RegExp(`^ {4}read +${SPOTIFY_SAMPLE.read}$`, "m"));
    expect(first.output).to.match(new RegExp(`^ {2}= inserted +${SPOTIFY_SAMPLE.kept}$`, "m"));
    expect(first.output).to.include("every number is the one this archive was made with.");
    expect(first.output).to.match(/^Top artists\n {2}1\. Velvet Harbour {2}\d+ plays, \d+ min$/m);
    expect(first.output).to.include(`Last plays of ${SPOTIFY_SAMPLE.kept}`);
    expect(first.output).to.match(/^playlog ready: http:\/\/localhost:\d+$/m);
    expect(first.output).to.match(/login {8}demo \/ \S{16}$/m);

    const second = await demo();
    expect(second.code, second.output).to.equal(0);
    expect(second.output).to.match(/^ {2}= inserted +0$/m);
    expect(second.output).to.include("the history had all plays from an earlier run.");
    expect(second.output).to.include(`Last plays of ${SPOTIFY_SAMPLE.kept}`);
    if (process.platform === "linux") {
      await eventually("no process is left", () => processesWith(home).length === 0);
    }
  });
});
