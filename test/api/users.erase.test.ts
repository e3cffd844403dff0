import { readdir } from "node:fs/promises";
import type { Worker } from "@temporalio/worker";
import { NativeConnection } from "@temporalio/worker";
import { expect } from "chai";
import { createEraseActivities } from "../../activities/erase.js";
import { createImportActivities } from "../../activities/import.js";
import { createImportWorker } from "../../activities/importWorker.js";
import { registerSearchAttributes } from "../../activities/searchAttributes.js";
import { NO_OBSERVER } from "../../services/import/observer.js";
import { createImportSteps } from "../../services/import/steps.js";
import { forgetConnections } from "../../services/connections/forgetting.js";
import { loadConnectionSecrets } from "../../services/connections/secrets.js";
import { FileBlobStore } from "../../services/storage/FileBlobStore.js";
import { AccountEraser } from "../../services/users/AccountEraser.js";
import { json, LIMITS, plays, quietLog } from "../services/import/importing.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { insertEverything, tracesOf } from "../support/everything.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { testStack } from "../support/stack.js";
import { until } from "../support/until.js";
import { quietRuntime } from "../workflows/quietRuntime.js";

const ME = "/api/v1/users/me";
const PATIENCE_MS = 30_000;

describe("DELETE /users/me", function () {
  this.timeout(60_000);
  let app: TestApp;
  let second: TestApp;
  let native: NativeConnection;
  let worker: Worker;
  let working: Promise<void>;
  let keeper: TestUser;
  const forgotten: { readonly importId: string }[] = [];
  before(async () => {
    quietRuntime();
    app = await startTestApp();
    second = await startTestApp({ beside: app });
    keeper = await buildUser(app);
    const { temporalAddress, workflowBundle } = testStack();
    native = await NativeConnection.connect({ address: temporalAddress });
    await registerSearchAttributes(native, "default", quietLog);
    const { database, redis, queue, config } = app.deps;
    const blobs = new FileBlobStore(config.spoolDir);
    const secrets = await loadConnectionSecrets(config);
    const eraser = new AccountEraser({
      pool: database.pool,
      blobs,
      queue: {
        requestCancel: (run) => queue.requestCancel(run),
        inspect: (work) => queue.inspect(work),
        forget: (work) => {
          forgotten.push(work as { importId: string });
          return queue.forget(work);
        },
      },
      log: quietLog,
      forgetConnections: (userId, before) =>
        forgetConnections({ ...app.deps, ...secrets, pool: database.pool }, userId, before),
      forgetCached: (ids) => redis.deleteNaming(ids),
    });
    const steps = createImportSteps({
      pool: database.pool,
      blobs,
      limits: LIMITS,
      blobKeepDays: 7,
      observer: NO_OBSERVER,
    });
    worker = await createImportWorker({
      connection: native,
      namespace: "default",
      taskQueue: config.temporal.taskQueue,
      activities: {
        ...createImportActivities({ steps, log: quietLog, outageRetryMs: 100 }),
        ...createEraseActivities({ eraser, log: quietLog, outageRetryMs: 100 }),
      },
      heartbeatTimeoutMs: 5000,
      stopMs: 5000,
      workflowBundle,
    });
    working = worker.run();
  });
  after(async () => {
    worker.shutdown();
    await working;
    await native.close();
    await second.close();
    await app.close();
  });

  const pool = () => app.deps.database.pool;
  const keysNaming = async (words: readonly string[]): Promise<string[]> => {
    const { client, namespace } = app.redisKeys;
    const keys = await client.keys(`${namespace}:*`);
    return keys.filter((key) => words.some((word) => key.includes(word)));
  };
  async function imported(user: TestUser, from: number): Promise<string> {
    const upload = await app.as(user).post("/api/v1/imports", undefined, {
      raw: new Uint8Array(json(plays(30, from))),
      headers: { "content-type": "application/json" },
    });
    const { id } = expectStatus(202, upload).body;
    await until(
      "the import is over",
      async () => (await app.as(user).get(`/api/v1/imports/${id}`)).body.status === "completed",
      PATIENCE_MS,
    );
    return id as string;
  }

  it("takes the password, and nothing else will do", async () => {
    const user = await buildUser(app);
    const wrong = expectStatus(403, await app.as(user).delete(ME, { password: "not the password at all" }));
    expect(wrong.body.code).to.equal("wrong_password");
    expectStatus(400, await app.as(user).delete(ME));
    expectStatus(400, await app.as(user).delete(ME, { password: user.password, really: true }));
    expectStatus(401, await app.anonymous.delete(ME, { password: user.password }));
    const scopes = ["read", "write", "import"];
    const token = expectStatus(
      201,
      await app.as(user).post("/api/v1/auth/tokens", { name: "all", scopes }),
    ).body;
    const byToken = await app.as({ accessToken: token.token }).delete(ME, { password: user.password });
    expect(expectStatus(403, byToken).body.code).to.equal("session_required");
    expectStatus(200, await app.as(user).get(ME));
  });

  it("switches the account off at once and leaves no trace: rows, uploads, cached answers, runs", async () => {
    const user = await buildUser(app);
    const { password, email, username } = user;
    const imports = [await imported(user, 0), await imported(user, 1000)];
    await insertEverything(pool(), user.id);
    const token = expectStatus(
      201,
      await app.as(user).post("/api/v1/auth/tokens", { name: "script", scopes: ["read"] }),
    ).body.token as string;
    const again = expectStatus(
      200,
      await app.anonymous.post("/api/v1/auth/login", { login: email, password }),
    ).body;
    const devices = [user, again, { accessToken: token }] as TestUser[];
    for (const at of [app, second])
      for (const device of devices)
        for (const address of [ME, "/api/v1/listening-history"])
          expectStatus(200, await at.as(device).get(address));
    const sessions = await pool().query<{ id: string }>("select id from sessions where user_id = $1", [
      user.id,
    ]);
    const words = [user.id, ...imports, ...sessions.rows.map(({ id }) => id)];
    await until("answers are cached", async () => (await keysNaming(words)).length > 0);
    const tracks = (await pool().query("select from tracks")).rowCount;

    const answer = expectStatus(202, await app.as(user).delete(ME, { password }));
    expect(answer.body).to.deep.equal({ status: "erasing" });
    for (const device of devices) {
      expectStatus(401, await app.as(device).get(ME));
      await until(
        "the other process knows",
        async () => (await second.as(device).get(ME)).status === 401,
        2000,
      );
    }
    for (const login of [email, username])
      expectStatus(401, await app.anonymous.post("/api/v1/auth/login", { login, password }));
    expectStatus(401, await app.anonymous.post("/api/v1/auth/refresh", { refreshToken: user.refreshToken }));

    await until(
      "the account is gone",
      async () => (await pool().query("select from users where id = $1", [user.id])).rowCount === 0,
      PATIENCE_MS,
    );
    expect(await tracesOf(pool(), [...words, email, username])).to.deep.equal({});
    expect(await keysNaming(words)).to.deep.equal([]);
    expect(await readdir(app.config.spoolDir)).to.deep.equal([]);
    // Temporal deletes histories in its own time; what stays says that some account was erased, by an id without a meaning.
    expect(forgotten.map(({ importId }) => importId)).to.include.members(imports);
    expect((await pool().query("select from tracks")).rowCount).to.equal(tracks);
    expectStatus(200, await app.as(keeper).get(ME));

    const anew = await buildUser(app, { email, username });
    expect(anew.id).to.not.equal(user.id);
    expect((await app.as(anew).get("/api/v1/listening-history")).body.data).to.deep.equal([]);
  });

  it("hides a public profile and history from others at once, and cancels what is being imported", async () => {
    const user = await buildUser(app);
    await app.as(user).patch(ME, { profileVisibility: "public", historyVisibility: "public" });
    const id = await imported(user, 2000);
    await pool().query("update import_jobs set status = 'running', finished_at = null where id = $1", [id]);
    const addresses = [`/api/v1/users/${user.id}`, `/api/v1/listening-history?userId=${user.id}`];
    for (const address of addresses) expectStatus(200, await app.as(keeper).get(address));
    expectStatus(202, await app.as(user).delete(ME, { password: user.password }));
    for (const address of addresses) expectStatus(404, await app.as(keeper).get(address));
    // No run is left that would close it; the worker's upkeep does so after its grace.
    await until(
      "it is being cancelled",
      async () =>
        (await pool().query("select from import_jobs where id = $1 and status = 'cancelling'", [id]))
          .rowCount === 1,
    );
    await pool().query("update import_jobs set status = 'cancelled', finished_at = now() where id = $1", [
      id,
    ]);
    await until(
      "the account is gone",
      async () => (await pool().query("select from users where id = $1", [user.id])).rowCount === 0,
      PATIENCE_MS,
    );
    expect(await tracesOf(pool(), [user.id])).to.deep.equal({});
  });
});
