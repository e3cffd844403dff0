import { setTimeout as sleep } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { expect } from "chai";
import pg from "pg";
import { createRealWorker, type RealWorker } from "../activities/realWorker.js";
import { json, plays } from "../services/import/importing.js";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { testStack } from "../support/stack.js";
import { insertUser } from "../support/users.js";

/** The queries are those of docs/OPERATIONS.md. */
describe("imports in the list of workflows of Temporal", function () {
  this.timeout(60_000);
  let db: TestDatabase;
  let real: RealWorker;
  let connection: Connection;
  let temporal: Client;

  before(async () => {
    db = await createTestDatabase();
    real = await createRealWorker(db);
    await real.start();
    connection = await Connection.connect({ address: testStack().temporalAddress });
    temporal = new Client({ connection });
  });
  after(async () => {
    await connection.close();
    await real.close();
    await db.drop();
  });

  const list = async (query: string): Promise<string[]> => {
    const found: string[] = [];
    for await (const { workflowId } of temporal.workflow.list({ query })) found.push(workflowId);
    return found.sort();
  };
  /** What is listed follows what is true within moments. */
  const untilListed = async (query: string, ids: readonly string[]): Promise<void> => {
    const wanted = JSON.stringify([...ids].sort());
    for (const deadline = Date.now() + 20_000; ; await sleep(50)) {
      const found = await list(query);
      if (JSON.stringify(found) === wanted) return;
      if (Date.now() > deadline) throw new Error(`${query} finds ${found.join(", ")}, not ${wanted}`);
    }
  };
  /** While it runs nothing can be written to the history: imports get stuck. */
  const withHistoryLocked = async (work: () => Promise<void>): Promise<void> => {
    const holder = new pg.Client({ connectionString: db.url });
    await holder.connect();
    try {
      await holder.query("begin");
      await holder.query("lock table listening_history in share row exclusive mode");
      await work();
    } finally {
      await holder.end();
    }
  };

  it("are found by user, provider, kind and phase while they are stuck, and by their end afterwards", async () => {
    const [user, other] = [await insertUser(db.database.pool), await insertUser(db.database.pool)];
    const ids: string[] = [];
    await withHistoryLocked(async () => {
      for (const owner of [user, other]) ids.push((await real.accept(owner, json(plays(250)))).id);
      const [own, strange] = ids.map((id) => `import-${id}-1`) as [string, string];
      await untilListed(`PlaylogUserId = '${user}' AND PlaylogPhase = 'importing'`, [own]);
      await untilListed(`PlaylogUserId = '${user}' AND ExecutionStatus = 'Running'`, [own]);
      await untilListed(`PlaylogUserId = '${other}' AND PlaylogProvider = 'spotify'`, [strange]);
      await untilListed(`PlaylogUserId = '${other}' AND PlaylogJobKind = 'file'`, [strange]);
      expect(await list(`PlaylogPhase = 'importing' AND ExecutionStatus = 'Running'`)).to.include.members([
        own,
        strange,
      ]);
      expect(await list(`PlaylogUserId = '${user}' AND PlaylogPhase = 'done'`)).to.deep.equal([]);
    });
    for (const [at, owner] of [user, other].entries()) await real.settled(owner, ids[at]!);
    await untilListed(
      `PlaylogUserId = '${user}' AND PlaylogPhase = 'done' AND ExecutionStatus = 'Completed'`,
      [`import-${ids[0]!}-1`],
    );
    await untilListed(`PlaylogUserId = '${user}' AND ExecutionStatus = 'Running'`, []);
  });

  it("are found as paused while they are, as running again after, and with the undo that took them back", async () => {
    const user = await insertUser(db.database.pool);
    let id = "";
    await withHistoryLocked(async () => {
      ({ id } = await real.accept(user, json(plays(250, 1000))));
      await untilListed(`PlaylogUserId = '${user}' AND PlaylogPhase = 'importing'`, [`import-${id}-1`]);
      await real.service.pause(user, id);
    });
    await untilListed(
      `PlaylogUserId = '${user}' AND PlaylogPhase = 'paused' AND ExecutionStatus = 'Running'`,
      [`import-${id}-1`],
    );
    await real.service.resume(user, id);
    await real.settled(user, id);
    await untilListed(`PlaylogUserId = '${user}' AND PlaylogPhase = 'paused'`, []);
    await real.service.undo(user, id);
    await real.settled(user, id, ["undone"]);
    await untilListed(
      `PlaylogUserId = '${user}' AND PlaylogProvider = 'spotify' AND WorkflowType = 'undoImport' AND ExecutionStatus = 'Completed'`,
      [`undo-${id}`],
    );
  });
});
