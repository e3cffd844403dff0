/** The api dies, is told to stop, or breaks down, at moments that would cost somebody an upload. */
import { once } from "node:events";
import { readdir, stat, utimes } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { expect } from "chai";
import { importWorkflowId } from "../../workflows/contracts.js";
import { digestOf, json, plays } from "../services/import/importing.js";
import { startTestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser } from "../support/factories.js";
import { RawRequest } from "../support/sockets.js";
import { testStack } from "../support/stack.js";
import { startTcpProxy } from "../support/tcpProxy.js";
import type { TcpProxy } from "../support/tcpProxy.js";
import { expectNothingLeft } from "./outcome.js";
import { createService } from "./service.js";
import type { Service, ServiceUser } from "./service.js";

const BODY = json(plays(1000));
const HOUR_MS = 3_600_000;

describe("the api as a process that ends", function () {
  this.timeout(60_000);
  let service: Service;
  let temporal: TcpProxy;

  before(async () => {
    temporal = await startTcpProxy(`http://${testStack().temporalAddress}`);
    service = await createService({ env: { SHUTDOWN_GRACE_MS: "10000" } });
  });
  after(async () => {
    await service.close();
    await temporal.close();
  });

  const spool = (): Promise<string[]> => readdir(service.spoolDir).catch(() => []);
  /** An upload whose first half the api has written to its disk. */
  async function halfUpload(user: ServiceUser, body = BODY): Promise<RawRequest> {
    const known = new Set(await spool());
    const request = new RawRequest(service.apiPort);
    await request.head("POST", "/api/v1/imports", {
      Authorization: `Bearer ${user.token}`,
      "Content-Type": "application/json",
      "Content-Length": body.length,
    });
    await request.write(body.subarray(0, body.length / 2));
    for (;;) {
      for (const name of (await spool()).filter((each) => !known.has(each))) {
        const { size } = await stat(path.join(service.spoolDir, name)).catch(() => ({ size: 0 }));
        if (size > 0) return request;
      }
      await sleep(10);
    }
  }

  it("leaves no import and, once swept, no file when it is killed in the middle of an upload", async () => {
    await service.startApi();
    const user = await service.user();
    const request = await halfUpload(user);
    await service.api.stop("SIGKILL");
    await request.closed;
    const { rows } = await service.database.pool.query("select from import_jobs");
    expect(rows).to.have.lengthOf(0);
    const [left, ...others] = await spool();
    expect(others).to.deep.equal([]);
    // As old as what no connection can still be writing to.
    const before = (Date.now() - 2 * HOUR_MS) / 1000;
    await utimes(path.join(service.spoolDir, left!), before, before);
    const worker = await service.startWorker();
    while ((await spool()).length > 0) await sleep(20);
    await worker.stop();
  });

  for (const [moment, lose] of [
    ["before Temporal has heard of it", () => temporal.freeze()],
    ["before it has heard that Temporal has started it", () => temporal.muffle()],
  ] as const) {
    it(`runs an import once when it is killed after the import was stored and ${moment}`, async () => {
      await service.startApi({ TEMPORAL_ADDRESS: temporal.address });
      const user = await service.user();
      expectStatus(200, await service.client(null).get("/health/dependencies")); // it is connected by now
      lose();
      const uploading = service.upload(user, BODY).catch((error: unknown) => error);
      let id: string | undefined;
      while (id === undefined) {
        const { rows } = await service.database.pool.query<{ id: string }>(
          "select id from import_jobs where user_id = $1",
          [user.id],
        );
        id = rows[0]?.id;
      }
      await service.api.stop("SIGKILL");
      expect(await uploading).to.be.instanceOf(Error);
      temporal.thaw();
      temporal.cut();

      const worker = await service.startWorker();
      expect((await service.closed(id)).status).to.equal("completed");
      expect(await runsOf(id)).to.equal(1);
      expect(await digestOf(service.database.pool, user.id)).to.include({ rows: 1000 });
      await expectNothingLeft(service.database.pool, service.spoolDir);
      await worker.stop();
    });
  }

  it("finishes what twenty clients have begun when it is told to stop, and ends with 0 in time", async () => {
    await service.startApi();
    const users = await Promise.all(Array.from({ length: 10 }, () => service.user()));
    const uploads = await Promise.all(users.map((user, n) => halfUpload(user, json(plays(1000, n * 1000)))));
    const answers = users.map((): number[] => []);
    const visitors = users.map((user, n) => visitUntilRefused(user, answers[n]!));
    while (answers.some((statuses) => statuses.length === 0)) await sleep(10);
    const began = performance.now();
    const ended = service.api.stop("SIGTERM");
    await sleep(300);
    for (const [n, upload] of uploads.entries()) {
      const body = json(plays(1000, n * 1000));
      await upload.write(body.subarray(body.length / 2));
    }
    for (const upload of uploads) {
      const answer = await upload.answer();
      expect(answer.status).to.equal(202);
      expect(answer.head).to.match(/^connection: close$/im);
      await upload.closed;
    }
    expect(await ended).to.equal(0);
    expect(performance.now() - began).to.be.below(9000);
    await Promise.all(visitors);
    for (const statuses of answers) expect(new Set(statuses)).to.deep.equal(new Set([200]));
    await expectNothingLeft(service.database.pool, service.spoolDir);
  });

  it("finishes what was begun and ends with 1 when something breaks down outside of any request", async () => {
    const breakDown = `process.on("SIGUSR2", () => { Promise.reject(new Error("a fault of ours")); })`;
    await service.startApi({}, ["--import", `data:text/javascript,${encodeURIComponent(breakDown)}`]);
    const user = await service.user();
    const upload = await halfUpload(user);
    const ended = once(service.api.child, "exit") as Promise<[number | null]>;
    service.api.child.kill("SIGUSR2");
    while (!service.api.output().includes("api stopping")) await sleep(10);
    await upload.write(BODY.subarray(BODY.length / 2));
    const answer = await upload.answer();
    expect(answer.status).to.equal(202);
    expect(answer.head).to.match(/^connection: close$/im);
    expect((await ended)[0]).to.equal(1);
    expect(service.api.output()).to.include("a fault of ours");
  });

  /** One request after the other on a connection of its own, until there is nobody to take the next. */
  async function visitUntilRefused(user: ServiceUser, statuses: number[]): Promise<void> {
    for (;;) {
      const request = new RawRequest(service.apiPort);
      await request.head("GET", "/api/v1/users/me", {
        Authorization: `Bearer ${user.token}`,
        Connection: "close",
      });
      const { status } = await request.answer();
      if (status === 0) return; // not accepted any more
      statuses.push(status);
    }
  }
});

async function runsOf(importId: string): Promise<number> {
  const connection = await Connection.connect({ address: testStack().temporalAddress });
  try {
    const { workflow } = new Client({ connection });
    const query = `WorkflowId = "${importWorkflowId(importId, 1)}"`;
    // What can be listed lags behind a little.
    while ((await workflow.count(query)).count === 0) await sleep(50);
    return (await workflow.count(query)).count;
  } finally {
    await connection.close();
  }
}

describe("the api with one connection of each kind to its database", function () {
  this.timeout(30_000);

  it("never waits for itself: every kind of request is answered, also many at once", async () => {
    const app = await startTestApp({ env: { DB_POOL_MAX: "1" } });
    try {
      const user = await buildUser(app);
      const client = app.as(user);
      const login = { login: user.username, password: user.password };
      const upload = async (n: number): Promise<number> =>
        (
          await client.post("/api/v1/imports", undefined, {
            raw: json(plays(2, n * 10)),
            headers: { "content-type": "application/json", "idempotency-key": `key-${n}` },
          })
        ).status;
      const round = async (n: number): Promise<number[]> => [
        await upload(n),
        ...(
          await Promise.all([
            app.anonymous.post("/api/v1/auth/login", login),
            client.get("/api/v1/users/me"),
            client.get("/api/v1/listening-history"),
            client.get("/api/v1/imports"),
          ])
        ).map(({ status }) => status),
      ];
      for (const statuses of await Promise.all([1, 2, 3, 4, 5].map(round)))
        expect(statuses).to.deep.equal([202, 200, 200, 200, 200]);
      const { body } = await client.get("/api/v1/imports");
      expectStatus(202, await client.post(`/api/v1/imports/${body.data[0].id}/cancel`));
      expectStatus(202, await client.post(`/api/v1/imports/${body.data[0].id}/retry`));
    } finally {
      await app.close();
    }
  });
});
