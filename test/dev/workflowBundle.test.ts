import { copyFileSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import { cachedWorkflowBundle } from "../../dev/workflowBundle.js";
import { testStack } from "../support/stack.js";

describe("the cache of workflow bundles", () => {
  it("keeps the three that were asked for last, and nothing else loses a file", async () => {
    const cache = mkdtempSync(path.join(tmpdir(), "playlog-bundles-test-"));
    const put = (name: string, minutesAgo: number): void => {
      const at = new Date(Date.now() - minutesAgo * 60_000);
      utimesSync(path.join(cache, name), at, at);
    };
    try {
      const current = path.basename(testStack().workflowBundle);
      copyFileSync(testStack().workflowBundle, path.join(cache, current));
      put(current, 90);
      const others = ["1", "2", "3", "4"].map((digit) => `workflows-${digit.repeat(16)}.js`);
      for (const [index, name] of [...others, "workflows-notes.js"].entries()) {
        writeFileSync(path.join(cache, name), "");
        put(name, 10 * (index + 1));
      }

      expect(await cachedWorkflowBundle(cache)).to.equal(path.join(cache, current));
      expect(readdirSync(cache)).to.have.members([current, ...others.slice(0, 2), "workflows-notes.js"]);
    } finally {
      rmSync(cache, { recursive: true, force: true });
    }
  });
});
