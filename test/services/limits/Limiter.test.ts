import { randomBytes } from "node:crypto";
import { expect } from "chai";
import { Redis } from "ioredis";
import { RedisService } from "../../../services/cache/RedisService.js";
import { Limiter } from "../../../services/limits/Limiter.js";
import type { Policy, Verdict } from "../../../services/limits/policies.js";
import { createLogger } from "../../../utils/logger.js";
import { startRefusingRedis } from "../../support/fakeRedis.js";
import { testStack } from "../../support/stack.js";
import { startTcpProxy, type TcpProxy } from "../../support/tcpProxy.js";
import { until } from "../../support/until.js";

const quiet = createLogger({ level: "error", format: "json" }, { service: "test" });
const policy = (max: number, windowMs = 60_000, maxAlone = max): Policy => ({
  name: `test-${max}`,
  max,
  windowMs,
  maxAlone,
});

describe("the limiter", () => {
  let proxy: TcpProxy;
  let plain: Redis;
  let namespace: string;
  let services: RedisService[];

  before(async () => {
    proxy = await startTcpProxy(testStack().redisUrl);
    plain = new Redis(testStack().redisUrl);
  });
  beforeEach(() => {
    namespace = `test-${randomBytes(6).toString("hex")}`;
    services = [];
  });
  afterEach(async () => {
    for (const service of services) service.close();
    const keys = await plain.keys(`${namespace}:*`);
    if (keys.length > 0) await plain.del(keys);
  });
  after(async () => {
    plain.disconnect();
    await proxy.close();
  });

  /** One api process. */
  const process = async (
    url = testStack().redisUrl,
    now?: () => number,
  ): Promise<{ limiter: Limiter; redis: RedisService }> => {
    const redis = new RedisService({ url, log: quiet, namespace });
    services.push(redis);
    await redis.connect();
    return { limiter: new Limiter(redis, now), redis };
  };
  const allowed = (verdicts: readonly Verdict[]): number =>
    verdicts.filter((verdict) => verdict.allowed).length;
  /** So many at once. */
  const burst = (limiter: Limiter, limit: Policy, count: number, subject = "somebody"): Promise<Verdict[]> =>
    Promise.all(Array.from({ length: count }, () => limiter.take(limit, subject)));
  const inTurn = async (limiter: Limiter, limit: Policy, count: number): Promise<Verdict[]> => {
    const verdicts: Verdict[] = [];
    for (let n = 0; n < count; n += 1) verdicts.push(await limiter.take(limit, "somebody"));
    return verdicts;
  };

  for (const max of [1, 10, 99, 100, 1000]) {
    it(`lets exactly ${max} of many through one process, at once or one after the other`, async () => {
      const { limiter } = await process();
      expect(allowed(await burst(limiter, policy(max), 2 * max + 50))).to.equal(max);
      expect(allowed(await burst(limiter, policy(max), 50, "another"))).to.equal(Math.min(50, max));
      const slow = await inTurn(limiter, { ...policy(max), name: "slowly" }, max + 10);
      expect(slow.map((verdict) => verdict.allowed).lastIndexOf(true)).to.equal(max - 1);
      expect(allowed(slow)).to.equal(max);
    });
  }

  it("says how many are left and until when, and of a refusal how long to wait", async () => {
    const { limiter } = await process();
    const [first, second, third] = await inTurn(limiter, policy(2), 3);
    expect([first?.remaining, second?.remaining, third?.remaining]).to.deep.equal([1, 0, 0]);
    for (const verdict of [first, second, third]) expect(verdict?.resetMs).to.be.within(59_000, 66_000);
    expect(third?.allowed).to.equal(false);
    expect(limiter.status(policy(2), "somebody")).to.include({ allowed: false, remaining: 0 });
  });

  it("counts all processes together: small limits exactly, large ones up to a fiftieth for each", async () => {
    const processes = await Promise.all([process(), process(), process()]);
    const all = async (limit: Policy): Promise<number> => {
      const verdicts = await Promise.all(processes.map(({ limiter }) => burst(limiter, limit, limit.max)));
      return allowed(verdicts.flat());
    };
    expect(await all(policy(10))).to.equal(10);
    const large = policy(1000);
    expect(await all(large)).to.be.within(large.max - 3 * 20, large.max + 3 * 20);
  });

  it("goes by the clock of Redis: a process with a clock of its own empties nobody's window", async () => {
    const { limiter } = await process();
    expect(allowed(await burst(limiter, policy(5), 10))).to.equal(5);
    const ahead = await process(undefined, () => performance.now() + 2 * 3_600_000);
    expect(allowed(await burst(ahead.limiter, policy(5), 10))).to.equal(0);
  });

  it("lets as many through again when the window is over, and never more in between", async () => {
    const { limiter } = await process();
    const limit = policy(4, 1000);
    expect(allowed(await burst(limiter, limit, 10))).to.equal(4);
    const started = performance.now();
    let refused = 0;
    await until("room", async () => {
      const verdict = await limiter.take(limit, "somebody");
      if (!verdict.allowed) refused += 1;
      return verdict.allowed;
    });
    expect(performance.now() - started).to.be.within(900, 5000);
    expect(refused).to.be.above(1);
  });

  it("gives back what was taken in advance and not used", async () => {
    let passed = 0;
    const { limiter } = await process(undefined, () => performance.now() + passed);
    const used = async (): Promise<number> => {
      const [name = ""] = await plain.keys(`${namespace}:limit:*`);
      return (await plain.hvals(name)).reduce((sum, count) => sum + Number(count), 0);
    };
    await limiter.take(policy(1000), "somebody");
    await until("the advance", async () => (await used()) === 1 + 20);
    passed += 10_000; // a slice and more
    await limiter.take(policy(1000), "somebody");
    await until("the second advance", async () => (await used()) === 2 + 20);
  });

  it("leaves keys that expire, and say nothing about whom they are of", async () => {
    const { limiter } = await process();
    await limiter.take(policy(10), "network 203.0.113.7");
    const tries = [
      { policy: policy(11), subject: "ada@example.org" },
      { policy: policy(12), subject: "ada" },
    ];
    await limiter.attempt(tries, "ada");
    await limiter.spare(await limiter.attempt(tries, "ada"), "ada", 30);
    const keys = await plain.keys(`${namespace}:*`);
    expect(keys).to.have.length(4);
    for (const key of keys) {
      expect(key).to.not.match(/203|ada|example/);
      expect(await plain.pttl(key)).to.be.within(1, key.includes("spared") ? 30 * 86_400_000 : 72_000);
    }
  });

  describe("for attempts", () => {
    const perDevice = policy(3, 60_000, 2);
    const perAccount = policy(5, 60_000, 4);
    const attempt = (limiter: Limiter, device: string) =>
      limiter.attempt(
        [
          { policy: perDevice, subject: device },
          { policy: perAccount, subject: "account" },
        ],
        device,
      );

    it("counts in all windows or in none, and names the one that is full", async () => {
      const { limiter } = await process();
      const first = await Promise.all(Array.from({ length: 10 }, () => attempt(limiter, "a")));
      expect(allowed(first.map(({ verdict }) => verdict))).to.equal(3);
      expect(first.at(-1)?.verdict.policy).to.equal(perDevice);
      // Those that the first window refused took nothing from the second.
      const second = await Promise.all(Array.from({ length: 10 }, () => attempt(limiter, "b")));
      expect(allowed(second.map(({ verdict }) => verdict))).to.equal(2);
      expect(second.at(-1)?.verdict.policy).to.equal(perAccount);
    });

    it("takes back what was no failure, and spares that device the last window, on every process", async () => {
      const { limiter } = await process();
      for (let n = 0; n < 20; n += 1) await limiter.spare(await attempt(limiter, "own"), "own", 30);
      for (const device of ["x", "y", "z"]) for (let n = 0; n < 2; n += 1) await attempt(limiter, device);
      expect((await attempt(limiter, "v")).verdict.allowed, "a stranger").to.equal(false);
      for (const { limiter: other } of [{ limiter }, await process()]) {
        const own = await attempt(other, "own");
        expect(own.verdict.allowed, "the owner").to.equal(true);
        await other.giveBack(own);
      }
    });
  });

  describe("without Redis", () => {
    const trouble: readonly (readonly [what: string, begin: () => unknown])[] = [
      ["refuses connections", () => proxy.refuse()],
      ["is frozen", () => proxy.freeze()],
    ];
    for (const [what, begin] of trouble) {
      it(`that ${what}: goes on counting from what it had seen, soon enough, and is limited all along`, async () => {
        const { limiter, redis } = await process(proxy.through(testStack().redisUrl));
        const [small, large] = [policy(10), policy(500)];
        expect(allowed(await burst(limiter, small, 6))).to.equal(6);
        expect(allowed(await burst(limiter, large, 300))).to.equal(300);
        await begin();
        try {
          const times: number[] = [];
          let more = 0;
          for (let n = 0; n < 60; n += 1) {
            const started = performance.now();
            more += allowed([await limiter.take(small, "somebody")]);
            times.push(performance.now() - started);
          }
          expect(more).to.equal(4);
          expect(Math.max(...times)).to.be.below(1000);
          expect(times.filter((ms) => ms > 200).length).to.be.at.most(3);
          const rest = allowed(await burst(limiter, large, 1000));
          expect(rest).to.be.within(200 - 40, 200 + 10);
          expect(allowed(await burst(limiter, policy(20), 100, "new"))).to.equal(20);
        } finally {
          if (what === "is frozen") {
            proxy.thaw();
            proxy.cut();
          } else await proxy.accept();
        }
        await until("Redis's return", () => redis.state.connected && !redis.state.breakerOpen);
        await limiter.take({ ...small, name: "after" }, "somebody");
        expect(await plain.keys(`${namespace}:limit:after:*`)).to.have.length(1);
      });
    }

    it("that refuses commands: counts by itself", async () => {
      const refusing = await startRefusingRedis("OOM command not allowed when used memory > 'maxmemory'.");
      try {
        const { limiter } = await process(refusing.url);
        expect(allowed(await burst(limiter, policy(10), 30))).to.equal(10);
        expect(allowed(await burst(limiter, policy(200), 300))).to.equal(200);
      } finally {
        for (const service of services) service.close();
        await refusing.close();
      }
    });

    it("allows guesses a part of what they are allowed with it", async () => {
      const redis = new RedisService({ url: "redis://127.0.0.1:1", log: quiet, namespace });
      services.push(redis);
      const limiter = new Limiter(redis);
      const attempt = (device: string) =>
        limiter.attempt(
          [
            { policy: policy(10, 60_000, 4), subject: device },
            { policy: policy(100, 60_000, 6), subject: "account" },
          ],
          device,
        );
      const tries = await Promise.all(Array.from({ length: 10 }, () => attempt("a")));
      expect(allowed(tries.map(({ verdict }) => verdict))).to.equal(4);
      for (let n = 0; n < 10; n += 1) {
        const right = await attempt("own");
        expect(right.verdict.allowed).to.equal(true);
        await limiter.spare(right, "own", 30);
      }
    });
  });
});
