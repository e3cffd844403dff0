import { setTimeout as sleep } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { expect } from "chai";
import { importWorkflowId } from "../../workflows/contracts.js";
import { testStack } from "../support/stack.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";
import { insertUser } from "../support/users.js";
import type { RunningEntry } from "../support/processes.js";
import { until } from "../support/until.js";
import { zip } from "../support/zip.js";
import { digestOf, json, play, plays, podcast } from "../services/import/importing.js";
import { createRealWorker } from "./realWorker.js";
import type { RealWorker } from "./realWorker.js";

describe("the worker process", function () {
  this.timeout(60_000);
  let db: TestDatabase;
  let real: RealWorker;
  let worker: RunningEntry;
  before(async () => {
    db = await createTestDatabase();
    real = await createRealWorker(db);
    worker = await real.start();
  });
  after(async () => {
    await real.close();
    await db.drop();
  });

  it("warns of nothing when it starts as it should", async () => {
    const ready = /"message":"worker ready"/;
    await until("it says that it is ready", () => ready.test(worker.output()));
    const [start] = worker.output().split(ready);
    expect(start).to.not.match(/"level":"(?:warn|error)"/);
  });

  it("imports an archive through the real workflow", async () => {
    const user = await insertUser(db.database.pool);
    const upload = zip([
      { name: "one.json", data: json([...plays(230), podcast(1)]) },
      { name: "two.json", data: json(plays(100, 200)) },
      { name: "pdf/ReadMe.txt", data: "hello" },
    ]);
    const accepted = await real.accept(user, upload, "my_spotify_data.zip");
    expect(accepted.status).to.equal("queued");

    const job = await real.settled(user, accepted.id);

    expect(job.status).to.equal("completed");
    expect(job.counts).to.deep.equal({
      read: 331,
      inserted: 300,
      duplicate: 30,
      skipped: 1,
      rejected: 0,
      linked: 0,
    });
    expect(job.duplicate).to.deep.equal({ same_row: 30 });
    expect(job.progress).to.include({ percent: 100, partsDone: 3, partsTotal: 3 });
    expect(job.sources).to.deep.equal(["spotify-extended"]);
    expect((await digestOf(db.database.pool, user)).rows).to.equal(300);
    // The row is closed by the last activity; the workflow itself ends a moment later.
    const inspect = () => real.queue.inspect({ kind: "import", importId: job.id, attempt: 1 });
    for (let tries = 0; tries < 100 && (await inspect()) === "open"; tries += 1) await sleep(50);
    expect(await inspect()).to.equal("completed");
  });

  it("fails an upload that holds nothing it knows, and says why", async () => {
    const user = await insertUser(db.database.pool);
    const accepted = await real.accept(user, Buffer.from("just some text"), "notes.txt");
    const job = await real.settled(user, accepted.id);
    expect(job.status).to.equal("failed");
    expect(job.error).to.include({ code: "unrecognised_format" });
    expect(job.finishedAt).to.be.instanceOf(Date);
  });

  it("names the damaged file of an archive and imports the others", async () => {
    const user = await insertUser(db.database.pool);
    const cut = json(plays(50, 1000)).subarray(0, -30);
    const accepted = await real.accept(
      user,
      zip([
        { name: "cut.json", data: cut },
        { name: "good.json", data: json([play(1), play(2)]) },
      ]),
      "export.zip",
    );
    const job = await real.settled(user, accepted.id);
    expect(job.status).to.equal("completed_with_errors");
    expect(
      job.parts.map((part) => [part.name, part.status, part.counts.read, part.error?.code]),
    ).to.deep.equal([
      ["cut.json", "failed", 49, "file_truncated"],
      ["good.json", "done", 2, undefined],
    ]);
  });

  it("closes an import that somebody terminates in Temporal, and imports the rest on retry", async () => {
    const user = await insertUser(db.database.pool);
    const { id } = await real.accept(user, json(plays(15_000)));
    const connection = await Connection.connect({ address: testStack().temporalAddress });
    try {
      await real.settled(user, id, ["running"]);
      await new Client({ connection }).workflow.getHandle(importWorkflowId(id, 1)).terminate("test");
    } finally {
      await connection.close();
    }
    const job = await real.settled(user, id);
    expect(job).to.include({ status: "failed" });
    expect(job.error).to.include({ code: "stopped_by_operator" });
    expect((await digestOf(db.database.pool, user)).rows).to.equal(job.counts.inserted);

    await real.service.retry(user, id);
    const retried = await real.settled(user, id);
    expect(retried).to.include({ status: "completed", workflowId: importWorkflowId(id, 2) });
    expect(retried.counts).to.include({ read: 15_000, inserted: 15_000 });
  });

  it("stops on SIGTERM and when its supervisor goes away, with exit code 0", async () => {
    const first = await real.start();
    expect(await first.stop("SIGTERM")).to.equal(0);
    const second = await real.start();
    second.child.disconnect();
    const [code] = await new Promise<[number | null]>((resolve) =>
      second.child.once("exit", (c) => resolve([c])),
    );
    expect(code).to.equal(0);
  });
});
