/** The whole of `npm start` on BullMQ: no Temporal is started, named or asked for, and a worker that dies is made up for. */
import { expect } from "chai";
import { serversOf } from "../../../dev/app.js";
import { createStartHome, type StartHome } from "../../dev/starting.js";
import { eventually, processesWith, recordOf } from "../../dev/support.js";
import { json, plays } from "../../services/import/importing.js";
import { expectStatus } from "../../support/expectStatus.js";
import { type Client, httpClient } from "../../support/http.js";

/** Of batches that leave time for a kill between them. */
const BULLMQ = { IMPORT_QUEUE: "bullmq", IMPORT_BATCH_ROWS: "100", IMPORT_HEARTBEAT_TIMEOUT_MS: "2000" };
const RECORDS = 10_000;
const PATIENCE_MS = 150_000;

describe("npm start with IMPORT_QUEUE=bullmq", function () {
  this.timeout(400_000);
  let home: StartHome;

  before(async function () {
    if (process.platform !== "linux") {
      console.log("      skipped: it looks for processes in /proc");
      this.skip();
    }
    home = await createStartHome();
  });
  after(async () => {
    await home?.clear();
    home?.remove();
  });

  const client = (token: string | null): Client => httpClient(`http://localhost:${home.port}`, token);

  it("imports, through the death of the worker, without any Temporal, and ends in order", async () => {
    const run = home.start(BULLMQ);
    await home.ready(run);
    expect(run.output()).to.not.include("Temporal");
    const { servers } = await recordOf(serversOf(home.folder));
    expect(servers.map(({ name }) => name)).to.have.members(["postgres", "redis"]);
    const { body: dependencies } = await client(null).get("/health/dependencies");
    expect(dependencies.queue).to.include({ kind: "bullmq", ok: true });
    expect(dependencies.temporal).to.equal(null);

    const account = { email: "bull@example.com", username: "bull", password: "a long enough password" };
    const registered = expectStatus(201, await client(null).post("/api/v1/auth/register", account));
    const api = client(registered.body.accessToken as string);
    const upload = await api.post("/api/v1/imports", undefined, {
      raw: json(plays(RECORDS)),
      headers: { "content-type": "application/json" },
    });
    const { id } = expectStatus(202, upload).body;
    const show = async () => (await api.get(`/api/v1/imports/${id}`)).body;
    await eventually("it has begun", async () => (await show()).counts.read > 0, PATIENCE_MS);
    const [worker] = processesWith(home.folder).filter((pid) =>
      processesWith("activities/worker.js").includes(pid),
    );
    process.kill(worker!, "SIGKILL");
    expect((await show()).counts.read).to.be.below(RECORDS);
    const job = await eventually(
      "it is done",
      async () => {
        const seen = await show();
        return seen.finishedAt !== null && seen;
      },
      PATIENCE_MS,
    );
    expect(job.status).to.equal("completed");
    expect(job.counts).to.include({ read: RECORDS, inserted: RECORDS, duplicate: 0 });
    expect(run.output()).to.include("worker is back");

    run.child.kill("SIGTERM");
    expect(await run.exit).to.deep.equal({ code: 0, signal: null });
    expect(await home.nothingLeft(PATIENCE_MS)).to.equal(true);
  });
});
