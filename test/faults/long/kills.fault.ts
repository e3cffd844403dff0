/**
 * Ten kills -9 of each part of the service at random moments of imports of 200,000 records. Each is back after
 * about a second, and every import ends as one that nobody disturbed. FAULT_SEED repeats a run, FAULT_KILLS and
 * FAULT_RECORDS change its size.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { json, play, plays, podcast } from "../../services/import/importing.js";
import type { RunningEntry } from "../../support/processes.js";
import { startPostgres, startRedis, startTemporal } from "../../support/servers.js";
import type { OwnServer } from "../../support/servers.js";
import { zip } from "../../support/zip.js";
import { expectNothingLeft, outcomeOf, undisturbed } from "../outcome.js";
import type { Outcome } from "../outcome.js";
import { createService } from "../service.js";
import type { Service } from "../service.js";
import { randomFrom, seedOfRun } from "./random.js";

const FILES = 10;
const BATCH_ROWS = 2000;
const KILLS = Number(process.env["FAULT_KILLS"] ?? 10);
const RECORDS = Number(process.env["FAULT_RECORDS"] ?? 200_000);
const BACK_AFTER_MS = 1000;
/** On top of a random number of records read, so that kills also fall into the middle of a batch. */
const LONGEST_DELAY_MS = 300;
const seed = seedOfRun();

/** Each file repeats a hundred plays of the one before, and has a podcast and a record that cannot be read. */
function archive(): Buffer {
  const each = RECORDS / FILES - 102;
  return zip(
    Array.from({ length: FILES }, (_, file) => ({
      name: `part-${file}.json`,
      data: json([
        ...plays(each, file * each),
        ...plays(100, Math.max(0, file - 1) * each),
        podcast(file * each),
        { ...play(file * each), ts: "?" },
      ]),
    })),
  );
}

describe(`an import of ${RECORDS} records through ${KILLS} kills of each part, seed ${seed}`, function () {
  this.timeout(1_200_000);
  let postgres: OwnServer;
  let temporal: OwnServer;
  let redis: OwnServer;
  let service: Service;
  let worker: RunningEntry;
  let upload: Buffer;
  let calm: Outcome;

  before(async () => {
    upload = archive();
    [postgres, temporal, redis] = await Promise.all([startPostgres(), startTemporal(), startRedis()]);
    service = await createService({
      databaseUrl: postgres.url,
      temporalAddress: temporal.url,
      redisUrl: redis.url,
      // A machine that is busy with more than this must not take a living worker for dead all the time.
      env: { IMPORT_BATCH_ROWS: String(BATCH_ROWS), IMPORT_HEARTBEAT_TIMEOUT_MS: "2000" },
    });
    calm = await undisturbed(service.database.pool, upload, { batchRows: BATCH_ROWS });
    expect(calm.counts).to.deep.include({
      read: RECORDS,
      rejected: FILES,
      skipped: FILES,
      duplicate: FILES * 100,
    });
    [, worker] = await Promise.all([service.startApi(), service.startWorker()]);
  });
  after(async () => {
    await service.close();
    await Promise.all([postgres, temporal, redis].map((server) => server.close()));
  });

  const ofServer = (server: () => OwnServer) => async (): Promise<() => Promise<unknown>> => {
    await server().kill();
    return () => server().start();
  };
  const parts: Readonly<Record<string, () => Promise<() => Promise<unknown>>>> = {
    "the worker": async () => {
      await worker.stop("SIGKILL");
      return async () => (worker = await service.startWorker());
    },
    "the api": async () => {
      await service.api.stop("SIGKILL");
      return () => service.startApi();
    },
    PostgreSQL: ofServer(() => postgres),
    Temporal: ofServer(() => temporal),
    Redis: ofServer(() => redis),
  };

  for (const [index, [name, killPart]] of Object.entries(parts).entries()) {
    it(`ends as if nothing had happened to ${name}`, async () => {
      const random = randomFrom(seed + index);
      const began = performance.now();
      const imports: string[] = [];
      const another = async (): Promise<string> => {
        const id = await service.accept(await service.user(), upload);
        imports.push(id);
        return id;
      };
      const killedAt: number[] = [];
      let id = await another();
      for (let kill = 1; kill <= KILLS; kill += 1) {
        const further = Math.floor(random() * 1.5 * (RECORDS / KILLS));
        await service.untilRead(id, (await recordsRead(service, id)) + further);
        // What its parts do not need to live may be over before ten kills are.
        if (await isClosed(service, id)) await service.untilRead((id = await another()), further);
        await sleep(random() * LONGEST_DELAY_MS);
        killedAt.push(await recordsRead(service, id));
        const restart = await killPart();
        await sleep(BACK_AFTER_MS);
        await restart();
      }
      for (const each of imports) {
        await service.closed(each, 300_000);
        expect(await outcomeOf(service.database.pool, each)).to.deep.equal(calm);
        const { rows } = await service.database.pool.query("select from import_jobs where workflow_id = $1", [
          `import-${each}-1`,
        ]);
        expect(rows, "nobody had to retry it").to.have.lengthOf(1);
      }
      await expectNothingLeft(service.database.pool, service.spoolDir);
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      console.log(
        `      ${name}: ${seconds} s, ${imports.length} import(s); records read at each kill: ${killedAt.join(", ")}`,
      );
    });
  }
});

async function isClosed(service: Service, id: string): Promise<boolean> {
  const found = await service.database.pool.query<{ closed: boolean }>(
    "select finished_at is not null as closed from import_jobs where id = $1",
    [id],
  );
  return found.rows[0]?.closed === true;
}

async function recordsRead(service: Service, id: string): Promise<number> {
  const found = await service.database.pool.query<{ read: number }>(
    "select coalesce(sum(read), 0)::bigint as read from import_parts where job_id = $1",
    [id],
  );
  return found.rows[0]?.read ?? 0;
}
