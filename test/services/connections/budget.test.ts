import { randomBytes } from "node:crypto";
import { expect } from "chai";
import { RedisService } from "../../../services/cache/RedisService.js";
import { Budget, type Share } from "../../../services/connections/budget.js";
import { RateLimitedError } from "../../../services/connections/errors.js";
import { createLogger } from "../../../utils/logger.js";
import { rejection } from "../../support/rejection.js";
import { testStack } from "../../support/stack.js";

const quiet = createLogger({ level: "error", format: "json" }, { service: "test" });
const share = (name: string, perSecond = 0.1, burst = 2): Share => ({ name, perSecond, burst });
const START = Date.UTC(2026, 0, 1);

describe("the budget of requests to a provider", () => {
  const opened: RedisService[] = [];
  let now: number;

  beforeEach(() => {
    now = START;
  });
  afterEach(() => {
    for (const redis of opened.splice(0)) redis.close();
  });

  /** One process; those of one namespace share a Redis. */
  async function processOf(
    namespace: string,
    url = testStack().redisUrl,
    clock = () => now,
  ): Promise<Budget> {
    const redis = new RedisService({ url, log: quiet, namespace });
    opened.push(redis);
    await redis.connect();
    return new Budget(redis, clock);
  }

  const fresh = (): string => `test-${randomBytes(6).toString("hex")}`;

  async function refusal(asked: Promise<void>): Promise<number> {
    const error = await rejection(asked);
    expect(error).to.be.instanceOf(RateLimitedError);
    return (error as RateLimitedError).until - now;
  }

  const kinds = [
    { name: "in Redis", url: () => testStack().redisUrl },
    { name: "in a process without Redis", url: () => "redis://127.0.0.1:1/0" },
  ];
  for (const { name, url } of kinds) {
    describe(name, () => {
      it("gives whoever has waited longest the next turn", async () => {
        const budget = await processOf(fresh(), url());
        const spotify = share("spotify one");
        await budget.take(spotify, "a");
        await budget.take(spotify, "a");
        expect(await refusal(budget.take(spotify, "b"))).to.equal(10_000);
        now += 1000;
        expect(await refusal(budget.take(spotify, "a"))).to.equal(19_000);
        now += 9000;
        // There is a token, and it is b's.
        expect(await refusal(budget.take(spotify, "a"))).to.equal(10_000);
        await budget.take(spotify, "b");
        now += 10_000;
        await budget.take(spotify, "a");
      });

      it("forgets whoever does not come back for their turn", async () => {
        const budget = await processOf(fresh(), url());
        const spotify = share("spotify one", 0.1, 1);
        await budget.take(spotify, "a");
        await refusal(budget.take(spotify, "b"));
        now += 75_000;
        await budget.take(spotify, "a");
      });

      it("lets nobody ask before the time a 429 named, and delays no other client", async () => {
        const budget = await processOf(fresh(), url());
        await budget.block(share("spotify one"), now + 80_000_000);
        await budget.block(share("spotify one"), now + 1000);
        for (const who of ["a", "b"]) {
          expect(await refusal(budget.take(share("spotify one"), who))).to.equal(80_000_000);
        }
        await budget.take(share("spotify two"), "a");
        now += 80_000_000;
        await budget.take(share("spotify one"), "a");
      });

      it("waits on the spot for a turn that comes soon, until it is told to stop", async () => {
        const budget = await processOf(fresh(), url(), Date.now);
        const quick = share("quick", 20, 1);
        const started = performance.now();
        for (let n = 0; n < 4; n += 1) await budget.take(quick, "a");
        expect(performance.now() - started).to.be.greaterThan(140);
        const slow = share("slow", 0.5, 1);
        await budget.take(slow, "a");
        const stop = new AbortController();
        const asked = rejection(budget.take(slow, "a", stop.signal));
        const reason = new Error("the worker stops");
        stop.abort(reason);
        expect(await asked).to.equal(reason);
      });
    });
  }

  it("is one for all processes", async () => {
    const namespace = fresh();
    const [one, other] = [await processOf(namespace), await processOf(namespace)];
    await one.take(share("spotify one"), "a");
    await other.take(share("spotify one"), "b");
    expect(await refusal(one.take(share("spotify one"), "c"))).to.equal(10_000);
    await other.block(share("spotify one"), now + 50_000);
    expect(await refusal(one.take(share("spotify one"), "c"))).to.equal(50_000);
  });
});
