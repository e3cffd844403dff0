import { setTimeout as sleep } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { expect } from "chai";
import { json, plays } from "../services/import/importing.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser } from "../support/factories.js";
import { type RunningEntry, startEntry } from "../support/processes.js";
import { testStack } from "../support/stack.js";

describe("the id of a request", function () {
  this.timeout(60_000);
  let app: TestApp;
  let worker: RunningEntry;

  before(async () => {
    app = await startTestApp();
    const { temporal, home } = { temporal: app.config.temporal, home: app.config.home };
    worker = await startEntry("activities/worker.ts", {
      PLAYLOG_HOME: home,
      DATABASE_URL: app.databaseUrl,
      TEMPORAL_TASK_QUEUE: temporal.taskQueue,
      PLAYLOG_WORKFLOW_BUNDLE: testStack().workflowBundle,
    });
  });
  after(async () => {
    await worker.stop();
    await app.close();
  });

  it("leads through the log of the api to the import, its workflow and its lines in the log of the worker", async () => {
    const requestId = "upload-of-a-client.7";
    const client = app.as(await buildUser(app));
    const { status, body } = await client.post("/api/v1/imports", undefined, {
      raw: json(plays(3)),
      headers: { "content-type": "application/json", "x-request-id": requestId },
    });
    expect(status).to.equal(202);
    for (let now = body; now.finishedAt === null; await sleep(50))
      now = (await client.get(`/api/v1/imports/${body.id}`)).body;

    const lines = (text: string): Record<string, unknown>[] =>
      text
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const accepted = lines(app.logs()).filter(
      (line) => line["requestId"] === requestId && line["importId"] === body.id,
    );
    expect(accepted).to.have.length(1);
    expect(accepted[0]).to.include({ message: "import accepted", workflowId: body.workflowId });

    const connection = await Connection.connect({ address: testStack().temporalAddress });
    try {
      const run = await new Client({ connection }).workflow.getHandle(body.workflowId as string).describe();
      expect(run.memo).to.deep.equal({ requestId });
    } finally {
      await connection.close();
    }

    const told = () => lines(worker.output()).filter((line) => line["importId"] === body.id);
    while (told().length < 2) await sleep(50); // a line may come a moment after what it tells of
    expect(told().map((line) => [line["message"], line["attempt"]])).to.deep.equal([
      ["import began", 1],
      ["import ended", 1],
    ]);
    expect(told()[1]).to.include({ kind: "file", status: "completed", code: null, activity: "finish" });
  });
});
