/**
 * How often who may ask. koa-ratelimit stands in front of each class of endpoints; what counts is ours, put under it as the
 * command it would define in Redis. See docs/adr/0018 for what that is made to avoid.
 *
 * Requests count by user, and by address where there is none. Tries to guess a password count by account as well.
 */
import ratelimit from "koa-ratelimit";
import type { Limiter } from "../../services/limits/Limiter.js";
import type { Policy, Verdict } from "../../services/limits/policies.js";
import { networkOf, type TrustedProxies } from "../../utils/clientAddress.js";
import { AppError, TooManyRequestsError } from "../../utils/errors.js";
import type { LimitName, Rate, Rates } from "../../utils/limitSettings.js";
import type { Logger } from "../../utils/logger.js";
import type { AppContext, AppMiddleware } from "../types.js";

/** Each has a limit of its own. Two more count failed tries for one account: from one network, and from all. */
export const RATE_CLASSES = ["reads", "writes", "search", "uploads", "exports", "login", "refresh"] as const;
export type RateClass = (typeof RATE_CLASSES)[number];

/** Guards against guessing; without Redis, each process allows this part of the limit. */
const GUARDS: ReadonlySet<LimitName> = new Set(["login", "loginDevice", "loginAccount"]);
const PART_ALONE = 1 / 3;

/** How long a network from which a login worked is not locked out by what others do to the account. */
const DEVICE_DAYS = 30;

export interface RequestLimitsOptions {
  readonly limiter: Limiter;
  readonly rates: Rates;
  readonly proxies: TrustedProxies;
  readonly log: Logger;
  /** Told of each refusal: a class, or `account`. */
  readonly refused: (limit: RateClass | "account") => void;
}

type Gate = (ctx: AppContext, next: () => Promise<void>) => Promise<void>;

export class RequestLimits {
  readonly #limiter: Limiter;
  readonly #proxies: TrustedProxies;
  readonly #log: Logger;
  readonly #refused: RequestLimitsOptions["refused"];
  readonly #gates: Readonly<Record<RateClass, Gate>>;
  readonly #policies: Readonly<Record<LimitName, Policy>>;
  #warned = false;

  constructor({ limiter, rates, proxies, log, refused }: RequestLimitsOptions) {
    this.#limiter = limiter;
    this.#proxies = proxies;
    this.#log = log;
    this.#refused = refused;
    const names = Object.keys(rates) as LimitName[];
    this.#policies = recordOf(names, (name) => policyOf(name, rates[name]));
    this.#gates = recordOf(RATE_CLASSES, (name) => this.#gate(name));
  }

  /** Counts the request, if that needs nobody's answer; false: `admit` has to. */
  admitKnown(ctx: AppContext, rateClass: RateClass): boolean {
    const verdict = this.#limiter.spend(this.#policies[rateClass], this.#subject(ctx));
    if (verdict === undefined) return false;
    this.#show(ctx, verdict);
    return true;
  }

  /** Counts the request. Throws `TooManyRequestsError`. */
  async admit(ctx: AppContext, rateClass: RateClass): Promise<void> {
    await this.#gates[rateClass](ctx, nothing);
    this.#show(ctx, this.#limiter.status(this.#policies[rateClass], this.#subject(ctx)));
  }

  /**
   * Runs `work`, whose refusal (a 4xx) would tell somebody that a guess about `account` was wrong; only refusals stay counted. Throws
   * `TooManyRequestsError` in place of running it, and what `work` throws.
   */
  async guess(ctx: AppContext, account: string, work: () => Promise<void>): Promise<void> {
    const name = account.normalize("NFKC").toLowerCase();
    const device = `${name} ${networkOf(this.#client(ctx))}`;
    const { loginDevice, loginAccount } = this.#policies;
    const counted = [
      { policy: loginDevice, subject: device },
      { policy: loginAccount, subject: name },
    ];
    const attempt = await this.#limiter.attempt(counted, device);
    if (!attempt.verdict.allowed) {
      this.#refused("account");
      this.#show(ctx, attempt.verdict);
      throw refusal(
        attempt.verdict,
        "Too many tries for this account; wait, or try from where you last logged in",
      );
    }
    try {
      await work();
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) void this.#limiter.giveBack(attempt);
      throw error;
    }
    void this.#limiter.spare(attempt, device, DEVICE_DAYS);
  }

  #gate(rateClass: RateClass): Gate {
    const policy = this.#policies[rateClass];
    return ratelimit<AppContext>({
      driver: "redis",
      namespace: "",
      max: policy.max,
      duration: policy.windowMs,
      disableHeader: true,
      id: (ctx) => this.#subject(ctx),
      db: {
        ratelimiter: async (key) => {
          // The package puts the namespace and a colon before what `id` gave.
          const { allowed, remaining, resetMs } = await this.#limiter.take(policy, key.slice(1));
          return [allowed ? remaining + 1 : 0, Math.ceil((Date.now() + resetMs) / 1000), policy.max];
        },
      },
      onLimited: (ctx) => {
        const verdict = this.#limiter.status(policy, this.#subject(ctx));
        this.#refused(rateClass);
        this.#show(ctx, verdict);
        throw refusal(verdict, "Too many requests of this kind");
      },
    });
  }

  #subject(ctx: AppContext): string {
    const { caller } = ctx.state;
    return caller === undefined ? `network ${networkOf(this.#client(ctx))}` : `user ${caller.userId}`;
  }

  #client({ req }: AppContext): string {
    const forwarded = req.headers["x-forwarded-for"]?.toString();
    const peer = req.socket.remoteAddress;
    if (forwarded !== undefined && !this.#warned && !this.#proxies.trusts(peer)) {
      this.#warned = true;
      this.#log.warn("X-Forwarded-For is not believed: its sender is not in TRUSTED_PROXIES");
    }
    return this.#proxies.clientOf(peer, forwarded);
  }

  /** As draft-ietf-httpapi-ratelimit-headers writes them. */
  #show(ctx: AppContext, { policy, remaining, resetMs }: Verdict): void {
    const seconds = Math.ceil(policy.windowMs / 1000);
    ctx.res.setHeader("RateLimit-Policy", `"${policy.name}";q=${policy.max};w=${seconds}`);
    ctx.res.setHeader("RateLimit", `"${policy.name}";r=${remaining};t=${Math.ceil(resetMs / 1000)}`);
  }
}

/** Gives requests their `ctx.state.limits`; `mount` asks it. */
export const rateLimiting =
  (limits: RequestLimits): AppMiddleware =>
  (ctx, next) => {
    ctx.state.limits = limits;
    return next();
  };

const nothing = (): Promise<void> => Promise.resolve();

const refusal = ({ resetMs }: Verdict, message: string): TooManyRequestsError =>
  new TooManyRequestsError(resetMs / 1000, message);

const recordOf = <K extends string, V>(keys: readonly K[], value: (key: K) => V): Record<K, V> =>
  Object.fromEntries(keys.map((key) => [key, value(key)])) as Record<K, V>;

const policyOf = (name: LimitName, { max, seconds }: Rate): Policy => ({
  name: name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
  max,
  windowMs: seconds * 1000,
  maxAlone: GUARDS.has(name) ? Math.ceil(max * PART_ALONE) : max,
});
