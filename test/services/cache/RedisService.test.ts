import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { Redis } from "ioredis";
import { RedisService } from "../../../services/cache/RedisService.js";
import { createLogger, type Logger } from "../../../utils/logger.js";
import { testStack } from "../../support/stack.js";
import { startTcpProxy, type TcpProxy } from "../../support/tcpProxy.js";

const quiet: Logger = createLogger({ level: "error", format: "json" }, { service: "test" });
const asText = (found: unknown): string | null => (typeof found === "string" ? found : null);

describe("RedisService", () => {
  let namespace: string;
  let service: RedisService;
  let plain: Redis;

  before(async () => {
    namespace = `test-${randomBytes(6).toString("hex")}`;
    service = new RedisService({ url: testStack().redisUrl, log: quiet, namespace });
    plain = new Redis(testStack().redisUrl);
    expect(await service.connect()).to.equal(true);
  });
  after(async () => {
    const keys = await plain.keys(`${namespace}:*`);
    if (keys.length > 0) await plain.del(keys);
    plain.disconnect();
    service.close();
  });

  it("keeps values under its namespace, each with a time to live", async () => {
    expect(await service.set("a", "1", 60)).to.equal(true);
    expect(await service.get("a")).to.equal("1");
    expect(await plain.pttl(`${namespace}:a`)).to.be.within(1, 60_000);
    expect(await plain.exists("a")).to.equal(0);
    expect(await service.del("a", "never there")).to.equal(true);
    expect(await service.get("a")).to.equal(null);
  });

  it("answers many who ask for bytes at the same moment, each with its own, and in few commands", async () => {
    const keys = Array.from({ length: 100 }, (_, n) => `bytes-${n}`);
    const missing = (n: number): boolean => n % 3 === 0;
    for (const [n, key] of keys.entries())
      if (!missing(n)) await service.setBytes(key, Buffer.from([n, 255]), 60);
    const commands = async (): Promise<number> =>
      Number(/cmdstat_mget:calls=(\d+)/.exec(await plain.info("commandstats"))?.[1] ?? 0);
    const before = await commands();
    const found = await Promise.all(keys.map((key) => service.getBytes(key)));
    expect(found).to.deep.equal(keys.map((_, n) => (missing(n) ? null : Buffer.from([n, 255]))));
    expect(await service.getBytes("bytes-1")).to.deep.equal(Buffer.from([1, 255]));
    expect((await commands()) - before).to.be.within(1, 50);
  });

  it("loads once for many callers at a time, and keeps the answer for the next", async () => {
    let loads = 0;
    const load = async (): Promise<string> => {
      loads += 1;
      await sleep(50);
      return "loaded";
    };
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => service.getOrLoad("many", 60, load, asText)),
    );
    expect(new Set(answers)).to.deep.equal(new Set(["loaded"]));
    expect(await service.getOrLoad("many", 60, load, asText)).to.equal("loaded");
    expect(loads).to.equal(1);
    expect(await plain.pttl(`${namespace}:many`)).to.be.within(53_000, 66_000);
  });

  it("spreads times to live, so that what was written together does not expire together", async () => {
    const keys = Array.from({ length: 12 }, (_, n) => `spread-${n}`);
    await Promise.all(keys.map((key) => service.getOrLoad(key, 1000, () => Promise.resolve("x"), asText)));
    const lives = await Promise.all(keys.map((key) => plain.pttl(`${namespace}:${key}`)));
    expect(Math.max(...lives) - Math.min(...lives)).to.be.above(5000);
  });

  it("keeps no null, and no failure", async () => {
    expect(await service.getOrLoad("nothing", 60, () => Promise.resolve(null), asText)).to.equal(null);
    expect(await plain.exists(`${namespace}:nothing`)).to.equal(0);

    const failing = service.getOrLoad("failing", 60, () => Promise.reject(new Error("no")), asText);
    expect(await failing.catch((error: Error) => error.message)).to.equal("no");
    expect(await service.getOrLoad("failing", 60, () => Promise.resolve("yes"), asText)).to.equal("yes");
  });

  it("loads again what it cannot read", async () => {
    for (const rubbish of ["{", "7", ""]) {
      await plain.set(`${namespace}:rubbish`, rubbish, "PX", 60_000);
      expect(await service.getOrLoad("rubbish", 60, () => Promise.resolve("fresh"), asText)).to.equal(
        "fresh",
      );
    }
    expect(await plain.get(`${namespace}:rubbish`)).to.equal('"fresh"');
  });
});

describe("RedisService in an outage", () => {
  let proxy: TcpProxy;
  let service: RedisService;
  let lines: string[];

  beforeEach(async () => {
    proxy = await startTcpProxy(testStack().redisUrl);
    lines = [];
    const log = (message: string): void => void lines.push(message);
    service = new RedisService({
      url: proxy.through(testStack().redisUrl),
      log: { error: log, warn: log, info: log, debug: log, child: () => quiet },
      namespace: `test-${randomBytes(6).toString("hex")}`,
    });
    await service.connect();
  });
  afterEach(async () => {
    service.close();
    await proxy.close();
  });

  const timed = async <T>(work: () => Promise<T>): Promise<[T, number]> => {
    const started = performance.now();
    return [await work(), performance.now() - started];
  };

  it("misses and skips in place of failing", async () => {
    await service.set("a", "1", 60);
    proxy.freeze();
    proxy.cut();
    expect(await service.get("a")).to.equal(null);
    expect(await service.set("a", "2", 60)).to.equal(false);
    expect(await service.del("a")).to.equal(false);
    expect(await service.getOrLoad("a", 60, () => Promise.resolve("from elsewhere"), asText)).to.equal(
      "from elsewhere",
    );
    expect(await service.ping()).to.deep.equal({ ok: false, latencyMs: null });
  });

  it("costs a silent server three short waits, then none while the breaker is open", async () => {
    proxy.freeze();
    for (let call = 0; call < 3; call += 1) {
      const [value, ms] = await timed(() => service.get("a"));
      expect(value).to.equal(null);
      expect(ms).to.be.within(200, 1500);
    }
    const [, ms] = await timed(async () => {
      for (let call = 0; call < 100; call += 1) await service.get("a");
    });
    expect(ms).to.be.below(250);
  });

  it("is used again within a few seconds of its return, and says so once", async () => {
    await service.set("a", "1", 60);
    proxy.freeze();
    proxy.cut();
    for (let call = 0; call < 5; call += 1) await service.get("a");
    proxy.thaw();
    proxy.cut();
    const deadline = Date.now() + 8000;
    while ((await service.get("a")) !== "1") {
      expect(Date.now()).to.be.below(deadline);
      await sleep(50);
    }
    expect(lines).to.deep.equal(["redis does not answer; going on without it", "redis answers again"]);
  });

  it("lets a process start without it, within a second or so", async () => {
    proxy.freeze();
    const late = new RedisService({ url: proxy.through(testStack().redisUrl), log: quiet });
    try {
      const [connected, ms] = await timed(() => late.connect());
      expect(connected).to.equal(false);
      expect(ms).to.be.below(2500);
      expect(await late.get("a")).to.equal(null);
    } finally {
      late.close();
    }
  });
});
