/** The servers die under the service, the api among them, while an import runs: it ends as if nothing had happened. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { digestOf, json, play, plays, podcast } from "../services/import/importing.js";
import { registration } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import type { RunningEntry } from "../support/processes.js";
import { startPostgres, startRedis, startTemporal } from "../support/servers.js";
import type { OwnServer } from "../support/servers.js";
import { zip } from "../support/zip.js";
import { expectNothingLeft, outcomeOf, undisturbed } from "./outcome.js";
import type { Outcome } from "./outcome.js";
import { createService } from "./service.js";
import type { Service, ServiceUser } from "./service.js";

const UPLOAD = zip([
  { name: "a.json", data: json([...plays(2500), podcast(1), { ...play(1), ts: "?" }]) },
  { name: "b.json", data: json(plays(2498, 2000)) },
]);
/** A thousand of its plays are in UPLOAD as well. */
const OTHER = json([...plays(1000, 1500), ...plays(500, 10_000)]);
/** From the return of a server to its being used again. */
const RECOVERY_MS = 15_000;
const UNAVAILABLE_MS = 2000;

describe("imports while servers die", function () {
  this.timeout(120_000);
  let postgres: OwnServer;
  let temporal: OwnServer;
  let redis: OwnServer;
  let service: Service;
  let user: ServiceUser;
  let worker: RunningEntry;
  let calm: Outcome;
  let calmOther: Outcome;

  before(async () => {
    [postgres, temporal, redis] = await Promise.all([startPostgres(), startTemporal(), startRedis()]);
    service = await createService({
      databaseUrl: postgres.url,
      temporalAddress: temporal.url,
      redisUrl: redis.url,
    });
    // Before there is a worker, which would take care of the job.
    calm = await undisturbed(service.database.pool, UPLOAD);
    expect(calm.counts).to.deep.include({
      read: 5000,
      inserted: 4498,
      duplicate: 500,
      rejected: 1,
      skipped: 1,
    });
    calmOther = await undisturbed(service.database.pool, OTHER, { filename: "upload.json" });
    [, worker] = await Promise.all([service.startApi(), service.startWorker()]);
  });
  beforeEach(async () => {
    user = await service.user();
  });
  afterEach(async () => {
    for (const server of [postgres, temporal, redis]) if (!server.running) await server.start();
    await expectNothingLeft(service.database.pool, service.spoolDir);
  });
  after(async () => {
    await service.close();
    await Promise.all([postgres, temporal, redis].map((server) => server.close()));
  });

  async function expectCalmEnd(id: string): Promise<void> {
    await service.closed(id);
    expect(await outcomeOf(service.database.pool, id)).to.deep.equal(calm);
  }

  /** Reads and writes, one after the other and without a pause, until stopped; gives what they were answered. */
  function visit(id: string): { stop: () => Promise<Visit[]> } {
    const visits: Visit[] = [];
    let over = false;
    const client = service.client(user);
    const working = (async () => {
      while (!over) {
        for (const request of [
          () => client.get(`/api/v1/imports/${id}`),
          () => client.get("/api/v1/listening-history?limit=1"),
          () => service.client(null).post("/api/v1/auth/register", registration()),
        ]) {
          const started = performance.now();
          const answer = await request();
          visits.push({ answer, ms: performance.now() - started });
        }
      }
    })();
    return {
      async stop() {
        over = true;
        await working;
        return visits;
      },
    };
  }
  const statuses = (visits: readonly Visit[]): number[] =>
    [...new Set(visits.map(({ answer }) => answer.status))].sort();

  it("goes on when PostgreSQL dies twice; meanwhile requests are answered with 503, never with 500", async () => {
    const id = await service.accept(user, UPLOAD);
    const visitor = visit(id);
    for (const records of [500, 3000]) {
      await service.untilRead(id, records);
      await postgres.kill();
      await sleep(300);
      await postgres.start();
    }
    await expectCalmEnd(id);
    const visits = await visitor.stop();
    expect(statuses(visits)).to.deep.equal([200, 201, 503]);
    for (const { answer } of visits.filter(({ answer: { status } }) => status === 503))
      expect(Number(answer.headers.get("retry-after"))).to.be.at.least(1);
  });

  it("answers with 503 in time while PostgreSQL is down, and is working again soon after it is back", async () => {
    const id = await service.accept(user, UPLOAD);
    await service.untilRead(id, 1000);
    await postgres.kill();
    const visitor = visit(id);
    const client = service.client(user);
    const began = performance.now();
    // Long enough that every pause between two tries gets its turn.
    while (performance.now() - began < 5000) {
      const upload = await service.upload(user, json(plays(3)));
      expect(upload.status).to.equal(503);
      expect((await client.get("/health/ready")).status).to.equal(503);
      expect((await client.get("/health")).status).to.equal(200);
    }
    const visits = await visitor.stop();
    expect(statuses(visits)).to.deep.equal([503]);
    for (const { ms } of visits) expect(ms).to.be.below(UNAVAILABLE_MS);

    await postgres.start();
    const back = performance.now();
    const before = await countRead(service, id);
    while ((await countRead(service, id)) === before) {
      expect(performance.now() - back, "until the import goes on").to.be.below(RECOVERY_MS);
      await sleep(20);
    }
    await expectCalmEnd(id);
    expect((await client.get(`/api/v1/imports/${id}`)).body.status).to.equal(calm.status);
  });

  it("goes on when Temporal dies, and takes uploads while it is down, which start when it is back", async () => {
    const id = await service.accept(user, UPLOAD);
    await service.untilRead(id, 1000);
    await temporal.kill();
    const other = await service.user();
    const began = performance.now();
    const late = await service.accept(other, UPLOAD);
    expect(performance.now() - began, "until 202").to.be.below(3000);
    expect((await service.client(other).get(`/api/v1/imports/${late}`)).body.status).to.equal("queued");
    expect((await service.client(null).get("/health/ready")).status).to.equal(200);
    await temporal.start();
    await expectCalmEnd(id);
    await expectCalmEnd(late);
  });

  it("goes on when Redis dies, and nobody notices: every request is answered as ever", async () => {
    const id = await service.accept(user, UPLOAD);
    const visitor = visit(id);
    await service.untilRead(id, 1000);
    await redis.kill();
    await service.untilRead(id, 4000);
    await redis.start();
    await expectCalmEnd(id);
    expect(statuses(await visitor.stop())).to.deep.equal([200, 201]);
  });

  it("goes on when the api dies, which shows it again as soon as it is back", async () => {
    const id = await service.accept(user, UPLOAD);
    await service.untilRead(id, 500);
    await service.api.stop("SIGKILL");
    await service.startApi();
    await expectCalmEnd(id);
    const shown = await service.client(user).get(`/api/v1/imports/${id}`);
    expect(shown.body).to.deep.include({ status: calm.status, counts: calm.counts });
  });

  it("stays paused when worker and PostgreSQL die, and ends with the same rows once it is resumed", async () => {
    const id = await service.accept(user, UPLOAD);
    const client = service.client(user);
    await service.untilRead(id, 500);
    expect((await client.post(`/api/v1/imports/${id}/pause`)).status).to.equal(200);
    await until(async () => (await ask("parked_at is not null", id)) === true);
    const read = await countRead(service, id);
    expect(read).to.be.below(5000);
    await worker.stop("SIGKILL");
    await postgres.kill();
    await postgres.start();
    worker = await service.startWorker();
    await sleep(2000); // four rounds of the reconciler, which must not take it for forgotten
    expect(await ask("status = 'paused'", id)).to.equal(true);
    expect(await countRead(service, id)).to.equal(read);
    const resumed = await until(async () => {
      const answer = await client.post(`/api/v1/imports/${id}/resume`);
      return answer.status === 503 ? undefined : answer.status; // its connections may be those of before
    });
    expect(resumed).to.equal(200);
    await expectCalmEnd(id);
  });

  it("takes back exactly what an import brought when PostgreSQL and the worker die while it is undone", async () => {
    const [id, other] = [await service.accept(user, UPLOAD), await service.accept(user, OTHER)];
    await Promise.all([service.closed(id), service.closed(other)]);
    expect((await service.client(user).post(`/api/v1/imports/${id}/undo`)).status).to.equal(202);
    for (const [plays, die] of [
      [4500, async () => (await postgres.kill(), () => postgres.start())],
      [3000, async () => (await worker.stop("SIGKILL"), startWorker)],
    ] as const) {
      await until(async () => {
        const { rows } = await digestOf(service.database.pool, user.id);
        return rows < plays;
      });
      const revive = await die();
      await revive();
      expect(await ask("status = 'undoing'", id), "it was not over yet").to.equal(true);
    }
    await until(async () => (await ask("status = 'undone'", id).catch(() => false)) === true);
    expect(await digestOf(service.database.pool, user.id)).to.deep.equal(calmOther.history);
  });

  const startWorker = async (): Promise<void> => {
    worker = await service.startWorker();
  };
  const ask = async (condition: string, id: string): Promise<boolean | undefined> => {
    const { rows } = await service.database.pool.query<{ holds: boolean }>(
      `select ${condition} as holds from import_jobs where id = $1`,
      [id],
    );
    return rows[0]?.holds;
  };
});

interface Visit {
  readonly answer: Answer;
  readonly ms: number;
}

/** Waits until `probe` gives something else than false or undefined. */
async function until<T>(probe: () => Promise<T | false | undefined>): Promise<T> {
  for (;;) {
    const value = await probe();
    if (value !== false && value !== undefined) return value;
    await sleep(10);
  }
}

async function countRead(service: Service, id: string): Promise<number> {
  const found = await service.database.pool.query<{ read: number }>(
    "select coalesce(sum(read), 0)::bigint as read from import_parts where job_id = $1",
    [id],
  );
  return found.rows[0]?.read ?? 0;
}
