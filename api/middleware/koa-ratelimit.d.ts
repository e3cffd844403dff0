/** The package has no types of its own. Only what api/middleware/rateLimit.ts uses of it. */
declare module "koa-ratelimit" {
  interface Options<C> {
    driver: "redis";
    /** Milliseconds. */
    duration: number;
    max: number;
    namespace: string;
    disableHeader: boolean;
    /** The package defines its own command here unless there is one. Answers `[remaining, reset in Unix seconds, total]`. */
    db: { ratelimiter(key: string): Promise<readonly [number, number, number]> };
    /** Never empty. */
    id(ctx: C): string;
    /** Called in place of `next`, with a body and a status already set. */
    onLimited(ctx: C): void;
  }

  export default function ratelimit<C>(
    options: Options<C>,
  ): (ctx: C, next: () => Promise<void>) => Promise<void>;
}
