import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import { compiledEntry } from "../support/compiled.js";
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from "../support/database.js";
import { registration } from "../support/factories.js";
import { httpClient } from "../support/http.js";
import { freePort, type RunningEntry, startEntry } from "../support/processes.js";
import { RawRequest } from "../support/sockets.js";
import { testStack } from "../support/stack.js";
import { insertUser } from "../support/users.js";

const ROOT = path.join(import.meta.dirname, "../..");

describe("the api as a process", function () {
  this.timeout(60_000);
  let database: TestDatabase;
  let home: string;
  let port: number;
  let running: RunningEntry | undefined;

  before(async () => {
    database = await createTestDatabase();
    home = await mkdtemp(path.join(tmpdir(), "playlog-api-"));
  });
  beforeEach(async () => {
    port = await freePort();
  });
  afterEach(async () => {
    await running?.stop("SIGKILL");
    running = undefined;
  });
  after(async () => {
    await database.drop();
    await rm(home, { recursive: true, force: true });
  });

  const settings = (more: Record<string, string> = {}): Record<string, string> => ({
    PLAYLOG_HOME: home,
    PORT: String(port),
    DATABASE_URL: database.url,
    REDIS_URL: testStack().redisUrl,
    TEMPORAL_ADDRESS: testStack().temporalAddress,
    BCRYPT_COST: "4",
    ...more,
  });
  const start = async (more: Record<string, string> = {}): Promise<RunningEntry> => {
    running = await startEntry("api/server.ts", settings(more));
    return running;
  };
  /** For starts that are expected to fail: exit code and everything printed. */
  const runToEnd = async (env: Record<string, string>): Promise<{ code: number | null; output: string }> => {
    const compiled = compiledEntry("api/server.ts");
    const entry = compiled === undefined ? ["--import", "tsx", "api/server.ts"] : [compiled];
    const child = spawn(process.execPath, entry, {
      cwd: ROOT,
      env: { PATH: process.env["PATH"] ?? "", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    }
    const [code] = (await once(child, "close")) as [number | null];
    return { code, output };
  };
  /** A request whose body is on its way: the head and half of the body are sent, the rest comes from `finish`. */
  const requestInFlight = async (): Promise<{ finish: () => Promise<RawRequest> }> => {
    const body = JSON.stringify(registration());
    const raw = new RawRequest(port);
    await raw.head("POST", "/api/v1/auth/register", {
      "Content-Type": "application/json",
      "Content-Length": Buffer.byteLength(body),
    });
    await raw.write(body.slice(0, 20));
    await new Promise((resolve) => setTimeout(resolve, 200)); // until the server has the first half
    return {
      finish: async () => {
        await raw.write(body.slice(20));
        return raw;
      },
    };
  };

  it("prints every problem of its settings at once, and ends", async () => {
    const { code, output } = await runToEnd({ PORT: "x", REDIS_URL: "http://secret-host" });
    expect(code).to.equal(1);
    for (const name of ["PORT", "REDIS_URL", "DATABASE_URL", "TEMPORAL_ADDRESS"])
      expect(output).to.include(`- ${name} `);
    expect(output).to.not.include("secret-host");
    expect(output).to.not.match(/\n\s+at /);
  });

  it("refuses to run on a schema that lacks migrations, and names them", async () => {
    const empty = await createEmptyDatabase();
    try {
      const { code, output } = await runToEnd(settings({ DATABASE_URL: empty.url }));
      expect(code).to.equal(1);
      expect(output).to.match(/The database lacks \d+ migration\(s\)/);
      expect(output).to.include("create_users");
    } finally {
      await empty.drop();
    }
  });

  it("refuses to run without a key that tokens in the database need, and names it", async () => {
    const { pool } = database.database;
    const user = await insertUser(pool);
    await pool.query(
      `insert into connections (id, user_id, provider, account, access_token, token_key_id)
       values (gen_random_uuid(), $1, 'spotify', 'ada', 'sealed', 'key-of-last-year')`,
      [user],
    );
    try {
      const { code, output } = await runToEnd(settings());
      expect(code).to.equal(1);
      expect(output).to.match(
        /^The database holds tokens under 1 key\(s\) that are not here: key-of-last-year\./m,
      );
    } finally {
      await pool.query("delete from users where id = $1", [user]);
    }
  });

  it("serves when it says so, finishes what it began on SIGTERM, and ends with 0", async () => {
    const api = await start();
    const { status } = await httpClient(`http://127.0.0.1:${port}`, null).get("/health/ready");
    expect(status).to.equal(200);

    const inFlight = await requestInFlight();
    const ended = api.stop("SIGTERM");
    await new Promise((resolve) => setTimeout(resolve, 300));
    const late = new RawRequest(port);
    await late.head("GET", "/health", {});
    expect((await late.answer()).status, "a new connection").to.equal(0);

    const answer = await (await inFlight.finish()).answer();
    expect(answer.status).to.equal(201);
    expect(answer.head).to.match(/^connection: close$/im);
    expect(await ended).to.equal(0);
    expect(api.output()).to.include("api stopped");
  });

  it("does not wait for ever for a request that never ends", async () => {
    const api = await start({ SHUTDOWN_GRACE_MS: "1500" });
    await requestInFlight();
    const started = performance.now();
    expect(await api.stop("SIGTERM")).to.equal(0);
    expect(performance.now() - started).to.be.below(2600);
  });

  it("ends when its supervisor is gone, and started again accepts the tokens it has signed", async () => {
    const api = await start();
    const client = httpClient(`http://127.0.0.1:${port}`, null);
    const { body } = await client.post("/api/v1/auth/register", registration());
    const ended = once(api.child, "exit");
    api.child.disconnect();
    expect((await ended)[0]).to.equal(0);
    await start();
    const me = await httpClient(`http://127.0.0.1:${port}`, body.accessToken).get("/api/v1/users/me");
    expect(me.status).to.equal(200);
    expect(running?.output()).to.not.include(body.accessToken);
  });
});
