import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import { Worker } from "@temporalio/worker";
import { expect } from "chai";
import { WORKFLOW_TYPES } from "../../workflows/contracts.js";
import { testStack } from "../support/stack.js";
import { quietRuntime } from "./quietRuntime.js";
import { HISTORIES } from "./scripted.js";

describe("workflow code", function () {
  this.timeout(60_000);

  it("bundles: nothing in it reaches for Node or for the rest of the service", () => {
    const code = readFileSync(testStack().workflowBundle, "utf8");
    for (const name of Object.values(WORKFLOW_TYPES)) expect(code).to.include(name);
    expect(code).not.to.match(/services\/|db\/knex/);
  });

  const names = readdirSync(HISTORIES).filter((name) => /\.json(\.gz)?$/.test(name));
  const textOf = (name: string): string => {
    const bytes = readFileSync(path.join(HISTORIES, name));
    return (name.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
  };

  it("has histories of every way that an import, a sync, an undo or an erase can take", () => {
    expect(names).to.include.members([
      "cancelled-while-paused.json",
      "cancelled.json",
      "closed.json",
      "completed.json",
      "due.json",
      "continued-as-new.json.gz",
      "continued.json",
      "erase-not-cancelled.json",
      "erase-tried-again.json",
      "erased-in-two-rounds.json",
      "erased.json",
      "failed-part.json",
      "failed.json",
      "linked.json",
      "paused-and-resumed.json",
      "paused-at-the-end.json",
      "paused-before-it-began.json",
      "stopped.json",
      "sync-cancelled-while-waiting.json",
      "sync-continued-as-new.json",
      "sync-continued.json",
      "sync-failed.json",
      "sync-paused-while-waiting.json",
      "synced-after-a-wait.json",
      "synced-by-file.json",
      "synced.json",
      "undo-not-cancelled.json",
      "undo-tried-again.json",
      "undone.json",
    ]);
  });

  for (const name of names) {
    it(`still does what it did: ${name}`, async () => {
      quietRuntime();
      const history: unknown = JSON.parse(textOf(name));
      await Worker.runReplayHistory({ workflowBundle: { codePath: testStack().workflowBundle } }, history);
    });
  }

  it("would notice a change: a history with another order of steps does not replay", async () => {
    quietRuntime();
    const changed: unknown = JSON.parse(
      textOf("completed.json").replaceAll('"name": "openParts"', '"name": "listParts"'),
    );
    let failed = false;
    try {
      await Worker.runReplayHistory({ workflowBundle: { codePath: testStack().workflowBundle } }, changed);
    } catch {
      failed = true;
    }
    expect(failed).to.equal(true);
  });
});
