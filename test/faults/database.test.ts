/** A PostgreSQL that restarts, freezes, refuses, is locked or is asked too much, and what the api answers meanwhile. */
import { expect } from "chai";
import pg from "pg";
import { json, plays } from "../services/import/importing.js";
import type { Answer } from "../support/http.js";
import { startPostgres } from "../support/servers.js";
import type { OwnServer } from "../support/servers.js";
import { createService } from "./service.js";
import type { Service, ServiceUser } from "./service.js";

let asked = 0;
/** Of no copy that is kept anywhere: nobody has asked for plays since this moment before. */
const history = (): string =>
  `/api/v1/listening-history?limit=5&from=${new Date(1_600_000_000_000 + 1000 * (asked += 1)).toISOString()}`;

describe("the api while its PostgreSQL has trouble", function () {
  this.timeout(60_000);
  let postgres: OwnServer;
  let service: Service;
  let user: ServiceUser;

  before(async () => {
    postgres = await startPostgres();
    service = await createService({ databaseUrl: postgres.url });
    await service.startApi();
    user = await service.user();
    await timed(() => get(history()));
  });
  afterEach(async () => {
    if (!postgres.running) await postgres.start();
  });
  after(async () => {
    await service.close();
    await postgres.close();
  });

  const get = (path: string): Promise<Answer> => service.client(user).get(path);
  const upload = (): Promise<Answer> => service.upload(user, json(plays(3)));

  function expectUnavailable({ answer, ms }: Timed, withinMs: number, code?: string): void {
    expect(answer.status).to.equal(503);
    expect(answer.body).to.include({ status: 503, ...(code === undefined ? {} : { code }) });
    expect(Number(answer.headers.get("retry-after"))).to.be.at.least(1);
    expect(ms).to.be.below(withinMs);
  }

  it("answers the next request after a restart, in the same process, whatever its idle connections were", async () => {
    const pid = service.api.pid;
    await Promise.all([1, 2, 3].map(() => get(history())));
    await postgres.kill("SIGINT"); // an orderly stop, which tells every connection
    await postgres.start();
    expect((await get(history())).status).to.equal(200);
    expect((await get("/health/db")).body.primary.state).to.equal("up");
    expect(service.api.pid).to.equal(pid);
    expect(service.api.child.exitCode).to.equal(null);
  });

  it("gives up on a server that is silent, and serves again once it speaks", async () => {
    await Promise.all([1, 2, 3].map(() => get(history()))); // connections that will hang
    await postgres.freeze();
    try {
      const answers = await Promise.all([
        ...Array.from({ length: 12 }, () => timed(() => get(history()))),
        timed(upload),
        timed(() => get("/health/ready")),
      ]);
      for (const each of answers) expectUnavailable(each, 4500);
      expect((await get("/health")).status).to.equal(200);
    } finally {
      await postgres.thaw();
    }
    const back = performance.now();
    for (const path of [history, () => "/health/ready"]) {
      while ((await get(path())).status !== 200) expect(performance.now() - back).to.be.below(5000);
      expect(performance.now() - back).to.be.below(5000);
    }
  });

  it("says at once that a server is not there", async () => {
    await postgres.kill();
    expectUnavailable(await timed(() => get(history())), 1000, "database");
    expectUnavailable(await timed(upload), 1000, "database");
    expectUnavailable(await timed(() => get("/health/ready")), 1000, "database");
    expect((await get("/health")).status).to.equal(200);
  });

  it("waits for a locked table no longer than its limit, and needs no help when the lock is gone", async () => {
    const locked = await lock("listening_history");
    try {
      const waited = await timed(() => get(history()));
      expectUnavailable(waited, 3500, "database");
      expect(waited.ms).to.be.above(1900);
      expect((await get("/api/v1/users/me")).status).to.equal(200);
    } finally {
      await locked.end();
    }
    expect((await get(history())).status).to.equal(200);
  });

  it("turns others away in time while slow statements hold every connection", async () => {
    const locked = await lock("listening_history");
    try {
      const slow = Array.from({ length: 50 }, () => timed(() => get(history())));
      const other = await timed(() => get("/api/v1/imports"));
      expectUnavailable(other, 2500, "busy");
      for (const each of await Promise.all(slow)) expectUnavailable(each, 4500);
      expect((await get("/health")).status).to.equal(200);
    } finally {
      await locked.end();
    }
    expect((await get(history())).status).to.equal(200);
    expect((await get("/api/v1/imports")).status).to.equal(200);
  });

  /** Holds the table against everybody until the connection ends. */
  async function lock(table: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: postgres.url });
    await client.connect();
    await client.query("begin");
    await client.query(`lock table ${table} in access exclusive mode`);
    return client;
  }
});

interface Timed {
  readonly answer: Answer;
  readonly ms: number;
}

async function timed(request: () => Promise<Answer>): Promise<Timed> {
  const started = performance.now();
  const answer = await request();
  return { answer, ms: performance.now() - started };
}
