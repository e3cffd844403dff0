/** A file that is too much for a worker, in a process of its own. */
import { once } from "node:events";
import { expect } from "chai";
import { json, plays } from "../../services/import/importing.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { insertUser } from "../../support/users.js";
import { zip } from "../../support/zip.js";
import { createRealWorker } from "../../activities/realWorker.js";
import type { RealWorker } from "../../activities/realWorker.js";

describe("a worker with a file that ends it", function () {
  this.timeout(360_000);
  let db: TestDatabase;
  let real: RealWorker;
  beforeEach(async () => {
    db = await createTestDatabase();
  });
  afterEach(async () => {
    await real.close();
    await db.drop();
  });

  it("gives a file up that ends worker after worker, and imports the other", async () => {
    real = await createRealWorker(db, { heartbeatTimeoutMs: 1000 });
    const user = await insertUser(db.database.pool);
    const upload = zip([
      { name: "deadly.json", data: json(plays(300)) },
      { name: "harmless.json", data: json(plays(950, 1000)) },
    ]);
    const { id } = await real.accept(user, upload, "export.zip");
    let deaths = 0;
    const settled = real.settled(user, id, undefined, 120_000);
    let over = false;
    void settled.finally(() => (over = true)).catch(() => undefined);
    while (!over) {
      const worker = await real.start({ PLAYLOG_KILL_AT: "0:0:before-commit" });
      await Promise.race([once(worker.child, "exit"), settled]);
      if (worker.child.signalCode === "SIGKILL") deaths += 1;
    }
    const job = await settled;
    expect(deaths).to.equal(3);
    expect(job).to.include({ status: "completed_with_errors" });
    const [deadly, harmless] = job.parts;
    expect(deadly).to.deep.include({ status: "failed" });
    expect(deadly?.error).to.include({ code: "resource_limit" });
    expect(deadly?.counts).to.include({ read: 0, inserted: 0 });
    expect(harmless).to.deep.include({ status: "done", error: null });
    expect(harmless?.counts).to.include({ read: 950, inserted: 950 });
  });
});
