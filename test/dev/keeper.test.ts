import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import { Redis } from "ioredis";
import { type Stack, startStack } from "../../dev/stack.js";
import { testStack } from "../support/stack.js";
import { embedded, eventually, isGone, queryOne, recordOf, sleep } from "./support.js";

describe("the keeper of the embedded servers", function () {
  this.timeout(40_000);
  const stacks: Stack[] = [];
  const folders: string[] = [];

  const started = async (options: Parameters<typeof embedded>[0] = {}): Promise<Stack> => {
    const stack = await embedded(options);
    stacks.push(stack);
    return stack;
  };
  const ownFolder = (): string => {
    const folder = mkdtempSync(path.join(tmpdir(), "playlog-keeper-test-"));
    folders.push(folder);
    return folder;
  };

  afterEach(async () => {
    await Promise.all(stacks.splice(0).map((stack) => stack.stop()));
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });

  it("brings each server that was killed back on the same port, and says so", async () => {
    const notes: string[] = [];
    const stack = await started({ note: (text) => notes.push(text) });
    await queryOne(stack.databaseUrl, "create table kept as select 42 as answer");
    const before = await recordOf(stack.folder);
    expect(before.servers.map((server) => server.name)).to.have.members(["postgres", "redis", "temporal"]);

    for (const server of before.servers) process.kill(server.pid, "SIGKILL");

    for (const { name, pid } of before.servers) {
      await eventually(`${name} is back`, () =>
        notes.some((note) => note.startsWith(`${name} is back on port`)),
      );
      const after = (await recordOf(stack.folder)).servers.find((server) => server.name === name);
      expect(after?.pid).to.be.a("number").that.does.not.equal(pid);
      expect(notes).to.include(`${name} ended (SIGKILL); starting it again in 0.5 s`);
    }
    expect(await queryOne(stack.databaseUrl, "select answer from kept")).to.equal(42);
    const redis = new Redis(stack.redisUrl, { maxRetriesPerRequest: 1 });
    expect(await redis.ping()).to.equal("PONG");
    redis.disconnect();
    const answer = await fetch(`${stack.temporalUiUrl ?? ""}/api/v1/namespaces/default`);
    expect(answer.status).to.equal(200);
  });

  it("says so when another program takes the port of a server that is down, and goes on once it is free", async () => {
    const notes: string[] = [];
    const given = { DATABASE_URL: testStack().databaseUrl, TEMPORAL_ADDRESS: testStack().temporalAddress };
    const stack = await started({ note: (text) => notes.push(text), env: { ...given, ...cacheOnly() } });
    const port = Number(new URL(stack.redisUrl).port);
    const [redis] = (await recordOf(stack.folder)).servers;

    process.kill(redis?.pid ?? 0, "SIGKILL");
    const thief = await eventually("the port is taken", async () => {
      const server = createServer().listen(port, "127.0.0.1");
      return once(server, "listening").then(
        () => server,
        () => undefined,
      );
    });
    try {
      const sentence = `redis cannot start: another program has taken port ${port}; starting it again in 1 s`;
      await eventually("the loss is reported", () => notes.includes(sentence));
    } finally {
      thief.close();
    }
    await eventually("redis is back", () => notes.includes(`redis is back on port ${port}`));
  });

  it("ends the servers and removes their folder when its parent is killed with SIGKILL", async () => {
    const child = fork(path.join(import.meta.dirname, "fixtures", "holdStack.ts"), {
      execArgv: ["--import", "tsx"],
    });
    const [{ folder, keeperPid }] = (await once(child, "message")) as [{ folder: string; keeperPid: number }];
    const { servers } = await recordOf(folder);
    expect(servers).to.have.lengthOf(3);

    child.kill("SIGKILL");

    for (const pid of [keeperPid, ...servers.map((server) => server.pid)]) {
      await eventually(`process ${pid} has ended`, () => isGone(pid));
    }
    expect(existsSync(folder)).to.equal(false);
  });

  it("leaves no server behind when it is killed with SIGKILL itself, and its parent is told", async () => {
    const stack = await started();
    const { servers } = await recordOf(stack.folder);

    process.kill(stack.keeperPid, "SIGKILL");

    await stack.keeperDied;
    for (const { pid, name } of servers) await eventually(`${name} has ended`, () => isGone(pid));
    await stack.stop();
    expect(existsSync(stack.folder)).to.equal(false);
  });

  it("keeps the data of a folder from one run to the next, and refuses a second run beside the first", async () => {
    const options = { folder: ownFolder(), servers: ["postgres"] as const };
    const first = await embedded(options);
    stacks.push(first);
    await queryOne(first.databaseUrl, "create table kept as select 'yes' as answer");

    const second = await embedded(options).then(
      () => "started",
      (error: unknown) => (error as Error).message,
    );
    expect(second).to.match(
      new RegExp(`^playlog already runs here \\(process ${process.pid}, folder .+\\)\\.$`),
    );
    expect(await queryOne(first.databaseUrl, "select answer from kept")).to.equal("yes");

    await first.stop();
    const again = await started(options);
    expect(await queryOne(again.databaseUrl, "select answer from kept")).to.equal("yes");
  });

  it("moves up to the next free port when the wanted one is taken", async () => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as { port: number };
    try {
      const given = { DATABASE_URL: testStack().databaseUrl, TEMPORAL_ADDRESS: testStack().temporalAddress };
      const stack = await started({ ports: { redis: port }, env: { ...given, ...cacheOnly() } });
      expect(Number(new URL(stack.redisUrl).port)).to.be.within(port + 1, port + 50);
    } finally {
      holder.close();
    }
  });

  it("starts no server that is not asked for, and lets Redis evict only what expires", async () => {
    const stack = await started({ servers: ["redis"] });
    expect(stack.embedded).to.deep.equal(["redis"]);
    expect([stack.databaseUrl, stack.temporalAddress]).to.deep.equal(["", ""]);
    expect((await recordOf(stack.folder)).servers.map((server) => server.name)).to.deep.equal(["redis"]);
    const redis = new Redis(stack.redisUrl, { maxRetriesPerRequest: 1 });
    expect(await redis.config("GET", "maxmemory-policy")).to.deep.equal(["maxmemory-policy", "volatile-lru"]);
    redis.disconnect();
  });

  it("embeds nothing that is given", async () => {
    const given = {
      DATABASE_URL: testStack().databaseUrl,
      REDIS_URL: testStack().redisUrl,
      TEMPORAL_ADDRESS: testStack().temporalAddress,
    };
    const stack = await startStack({ fsync: false, note: () => undefined, env: given });
    stacks.push(stack);
    expect(stack.embedded).to.deep.equal([]);
    expect((await recordOf(stack.folder)).servers).to.deep.equal([]);
    expect({
      DATABASE_URL: stack.databaseUrl,
      REDIS_URL: stack.redisUrl,
      TEMPORAL_ADDRESS: stack.temporalAddress,
    }).to.deep.equal(given);
  });

  it("gives a start up that is called off, and leaves nothing", async () => {
    for (const delayMs of [0, 60, 100, 140, 180, 250]) {
      const abort = new AbortController();
      const folder = ownFolder();
      const starting = embedded({ folder, signal: abort.signal }).then(
        () => "started",
        (error: unknown) => (error as Error).message,
      );
      await sleep(delayMs);
      abort.abort();
      expect(await starting, `after ${delayMs} ms`).to.equal("the start was called off");
      expect(existsSync(path.join(folder, "keeper.json")), `after ${delayMs} ms`).to.equal(false);
    }
  });
});

const cacheOnly = (): Record<string, string | undefined> => ({
  XDG_CACHE_HOME: process.env["XDG_CACHE_HOME"],
});
