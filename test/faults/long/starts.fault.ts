/** `npm start` loses one of its own processes, or is told to stop in other ways than test/dev/start.test.ts does. */
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { createStartHome, GONE_MS, type StartHome } from "../../dev/starting.js";
import { recordOf } from "../../dev/support.js";

describe("npm start that loses a process of its own, or is told to stop", function () {
  this.timeout(120_000);
  let home: StartHome;
  const account = { email: "start@example.com", username: "start", password: "a long enough password" };

  before(async function () {
    if (process.platform !== "linux") this.skip();
    home = await createStartHome();
  });
  afterEach(() => home?.clear());
  after(() => home?.remove());

  it("stops when npm alone gets a SIGTERM", async () => {
    const run = home.launch("npm", ["start"]);
    await home.ready(run);
    run.child.kill("SIGTERM");
    await run.exit;
    await home.nothingLeft(GONE_MS);
  });

  it("leaves nothing when the start process is killed, and starts again", async () => {
    const first = home.start();
    await home.ready(first);
    expect((await home.post("/auth/register", account)).status).to.equal(201);
    first.child.kill("SIGKILL");
    await home.nothingLeft(GONE_MS);
    await home.ready(home.start());
  });

  it("ends everything and says so when the keeper of the servers is killed", async () => {
    const run = home.start();
    await home.ready(run);
    process.kill((await recordOf(path.join(home.folder, "servers"))).keeper.pid, "SIGKILL");
    expect(await run.exit).to.deep.equal({ code: 1, signal: null });
    expect(run.output()).to.include("The keeper of the servers has died; stopping");
    await home.nothingLeft(GONE_MS);
  });

  it("takes a second Ctrl-C for impatience and still ends in order, with the account in place", async () => {
    const run = home.start();
    await home.ready(run);
    expect(
      (await home.post("/auth/login", { login: account.username, password: account.password })).status,
    ).to.equal(200);
    run.child.kill("SIGINT");
    await sleep(200);
    run.child.kill("SIGINT");
    expect(await run.exit).to.deep.equal({ code: 0, signal: null });
    await home.nothingLeft(1000);
  });
});
