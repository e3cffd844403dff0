/** Servers that stay away for minutes, not moments. FAULT_OUTAGE_S changes how long. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { json, plays } from "../../services/import/importing.js";
import { registration } from "../../support/factories.js";
import { startPostgres, startTemporal } from "../../support/servers.js";
import type { OwnServer } from "../../support/servers.js";
import { expectNothingLeft, outcomeOf, undisturbed } from "../outcome.js";
import type { Outcome } from "../outcome.js";
import { createService } from "../service.js";
import type { Service } from "../service.js";

const OUTAGE_MS = 1000 * Number(process.env["FAULT_OUTAGE_S"] ?? 90);
/** What fails while PostgreSQL is away fails all the time, so less of it shows as much. */
const POSTGRES_OUTAGE_MS = (OUTAGE_MS * 2) / 3;
const UNAVAILABLE_MS = 2000;
const RECOVERY_MS = 15_000;
const UPLOAD = json(plays(20_000));

describe("an import through an outage of minutes", function () {
  this.timeout(OUTAGE_MS + 400_000);
  let postgres: OwnServer;
  let temporal: OwnServer;
  let service: Service;
  let calm: Outcome;

  before(async () => {
    [postgres, temporal] = await Promise.all([startPostgres(), startTemporal()]);
    // The pauses between tries are those of production.
    service = await createService({
      databaseUrl: postgres.url,
      temporalAddress: temporal.url,
      env: { IMPORT_OUTAGE_RETRY_MS: "5000", RECONCILE_INTERVAL_MS: "5000" },
    });
    calm = await undisturbed(service.database.pool, UPLOAD, { filename: "upload.json" });
    await Promise.all([service.startApi(), service.startWorker()]);
  });
  after(async () => {
    await service.close();
    await Promise.all([postgres.close(), temporal.close()]);
  });

  it("goes on when Temporal is back, and so do those that were uploaded meanwhile", async () => {
    const user = await service.user();
    const id = await service.accept(user, UPLOAD);
    await service.untilRead(id, 2000);
    await temporal.kill();
    const down = performance.now();
    const late: string[] = [];
    while (performance.now() - down < OUTAGE_MS) {
      const began = performance.now();
      const owner = await service.user();
      late.push(await service.accept(owner, UPLOAD));
      expect(performance.now() - began, "until 202").to.be.below(4000);
      await sleep(OUTAGE_MS / 4);
    }
    await temporal.start();
    for (const each of [id, ...late]) {
      await service.closed(each, 120_000);
      expect(await outcomeOf(service.database.pool, each)).to.deep.equal(calm);
    }
    await expectNothingLeft(service.database.pool, service.spoolDir);
  });

  it("goes on by itself soon after PostgreSQL is back; until then every request is 503 in time", async () => {
    const user = await service.user();
    const id = await service.accept(user, UPLOAD);
    await service.untilRead(id, 2000);
    await postgres.kill();
    const down = performance.now();
    const client = service.client(user);
    while (performance.now() - down < POSTGRES_OUTAGE_MS) {
      for (const request of [
        () => client.get(`/api/v1/imports/${id}`),
        () => service.client(null).post("/api/v1/auth/register", registration()),
        () => service.upload(user, json(plays(2))),
      ]) {
        const began = performance.now();
        expect((await request()).status).to.equal(503);
        expect(performance.now() - began).to.be.below(UNAVAILABLE_MS);
      }
      await sleep(500);
    }
    await postgres.start();
    const back = performance.now();
    const read = await recordsRead(service, id);
    while ((await recordsRead(service, id)) === read) {
      expect(performance.now() - back, "until the import goes on").to.be.below(RECOVERY_MS);
      await sleep(50);
    }
    await service.closed(id, 120_000);
    expect(await outcomeOf(service.database.pool, id)).to.deep.equal(calm);
    await expectNothingLeft(service.database.pool, service.spoolDir);
  });
});

async function recordsRead(service: Service, id: string): Promise<number> {
  const found = await service.database.pool.query<{ read: number }>(
    "select coalesce(sum(read), 0)::bigint as read from import_parts where job_id = $1",
    [id],
  );
  return found.rows[0]?.read ?? 0;
}
