import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { bundleWorkflowCode, DefaultLogger, Worker } from "@temporalio/worker";
import { expect } from "chai";
import { WORKFLOW_TYPES } from "../../workflows/contracts.js";
import { testStack } from "../support/stack.js";
import { quietRuntime } from "./quietRuntime.js";

const HISTORIES = path.join(import.meta.dirname, "histories");

describe("workflow code", function () {
  this.timeout(60_000);

  it("bundles: nothing in it reaches for Node or for the rest of the service", async () => {
    const { code } = await bundleWorkflowCode({
      workflowsPath: path.resolve(import.meta.dirname, "../../workflows/index.ts"),
      logger: new DefaultLogger("ERROR"),
    });
    for (const name of Object.values(WORKFLOW_TYPES)) expect(code).to.include(name);
    expect(code).not.to.match(/services\/|db\/knex/);
  });

  const names = readdirSync(HISTORIES).filter((name) => name.endsWith(".json"));

  it("has histories of every way an import can end", () => {
    expect(names).to.include.members(["completed.json", "cancelled.json", "failed.json", "failed-part.json"]);
  });

  for (const name of names) {
    it(`still does what it did: ${name}`, async () => {
      quietRuntime();
      const history: unknown = JSON.parse(readFileSync(path.join(HISTORIES, name), "utf8"));
      await Worker.runReplayHistory({ workflowBundle: { codePath: testStack().workflowBundle } }, history);
    });
  }

  it("would notice a change: a history with another order of steps does not replay", async () => {
    quietRuntime();
    const text = readFileSync(path.join(HISTORIES, "completed.json"), "utf8");
    const changed: unknown = JSON.parse(text.replaceAll('"name": "openParts"', '"name": "listParts"'));
    let failed = false;
    try {
      await Worker.runReplayHistory({ workflowBundle: { codePath: testStack().workflowBundle } }, changed);
    } catch {
      failed = true;
    }
    expect(failed).to.equal(true);
  });
});
