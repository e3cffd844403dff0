/**
 * A program: the cached page as somebody would write it with fastify, @fastify/jwt, ajv and ioredis. It does what the api does
 * for that page: id of the request, token (verified once), session and versions out of memory, a limit, the query checked, the
 * bytes from Redis (what is asked for at the same time goes out together), the tag compared, a line in the log, the same metrics.
 */
import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import fastifyJwt from "@fastify/jwt";
import Fastify, { type FastifyRequest, LogController } from "fastify";
import { Redis } from "ioredis";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { decodePage, encodePage, etagOf } from "../../../services/cache/page.js";
import { ACCESS_TOKEN } from "../../../services/auth/accessTokens.js";

const { PORT, REDIS_URL = "", JWT_SECRET = "", BODY = "" } = process.env;
const WINDOW_MS = 60_000;
const LIMIT = 300_000;

interface Claims {
  readonly sub: string;
  readonly sid: string;
}

const redis = new Redis(REDIS_URL, { enableAutoPipelining: true });
const sessions = new Map<string, { readonly userId: string; readonly until: number }>();
const versions = new Map<string, number>();
const windows = new Map<string, { count: number; until: number }>();
const registers = [new Registry()];
const inFlight = new Gauge({ name: "http_requests_in_flight", help: "Not answered yet", registers });
const cached = new Counter({
  name: "cache_answers",
  help: "By what the cache did",
  labelNames: ["route", "outcome"],
  registers,
});
const seconds = new Histogram({
  name: "http_request_seconds",
  help: "Time to the last byte",
  labelNames: ["method", "route", "status"],
  registers,
});

/** Asked once for each session, as a copy in memory is made. */
function sessionOf({ sub, sid }: Claims): string {
  const known = sessions.get(sid);
  if (known === undefined) {
    sessions.set(sid, { userId: sub, until: performance.now() + 7_200_000 });
    return sub;
  }
  if (known.userId !== sub || known.until < performance.now()) throw new Error("no such session");
  return known.userId;
}

function remainingOf(userId: string): { remaining: number; resetMs: number } {
  const now = performance.now();
  let window = windows.get(userId);
  if (window === undefined || window.until < now) {
    window = { count: 0, until: now + WINDOW_MS };
    windows.set(userId, window);
  }
  window.count += 1;
  return { remaining: LIMIT - window.count, resetMs: window.until - now };
}

const app = Fastify({
  logger: { level: "info" },
  logController: new LogController({ disableRequestLogging: true }),
  genReqId: () => randomUUID(),
});
await app.register(fastifyJwt, {
  secret: Buffer.from(JWT_SECRET),
  verify: {
    cache: true,
    algorithms: [ACCESS_TOKEN.algorithm],
    allowedIss: ACCESS_TOKEN.issuer,
    allowedAud: ACCESS_TOKEN.audience,
  },
});
app.addHook("onRequest", (_request, _reply, done) => {
  inFlight.inc();
  done();
});
app.addHook("onResponse", (request, reply, done) => {
  inFlight.dec();
  const ms = reply.elapsedTime;
  seconds.observe(
    { method: request.method, route: request.routeOptions.url ?? "", status: String(reply.statusCode) },
    ms / 1000,
  );
  const { sub: userId } = request.user as Claims;
  request.log.info(
    { method: request.method, route: request.routeOptions.url, status: reply.statusCode, ms, userId },
    "request",
  );
  done();
});

const querystring = {
  type: "object",
  additionalProperties: false,
  properties: {
    from: { type: "string" },
    until: { type: "string" },
    artistId: { type: "integer", minimum: 1 },
    trackId: { type: "integer", minimum: 1 },
    albumId: { type: "integer", minimum: 1 },
    artist: { type: "string", maxLength: 1000 },
    track: { type: "string", maxLength: 1000 },
    source: { type: "string" },
    userId: { type: "string" },
    importId: { type: "string" },
    counted: { type: "boolean" },
    includeDuplicates: { type: "boolean", default: false },
    includeTotal: { type: "boolean", default: false },
    order: { enum: ["desc", "asc"], default: "desc" },
    limit: { type: "integer", minimum: 1, maximum: 1000, default: 100 },
    cursor: { type: "string", maxLength: 512 },
    page: { type: "integer", minimum: 1, maximum: 100 },
  },
};

function keyOf(userId: string, query: unknown, encoding: string): string {
  const input = JSON.stringify(Object.entries(query ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));
  const hash = createHash("sha256").update(input).digest("base64url").slice(0, 22);
  const current = ["history", "account", "catalogue"].map((topic) => versions.get(`${topic} ${userId}`) ?? 0);
  return `bench:${process.pid}:${userId}:${hash}:${encoding}:${current.join()}`;
}

/** In place of a query: what the api answered. */
function load(encoding: "identity" | "gzip"): Buffer {
  const plain = readFileSync(BODY);
  const body = encoding === "gzip" ? gzipSync(plain, { level: 1 }) : plain;
  return encodePage({ etag: etagOf(plain), encoding, body });
}

app.get(
  "/api/v1/listening-history",
  {
    schema: { querystring },
    onRequest: async (request: FastifyRequest) => {
      await request.jwtVerify();
    },
  },
  async (request, reply) => {
    const userId = sessionOf(request.user as Claims);
    const { remaining, resetMs } = remainingOf(userId);
    if (remaining < 0) return reply.code(429).send();
    const encoding = String(request.headers["accept-encoding"]).includes("gzip") ? "gzip" : "identity";
    const key = keyOf(userId, request.query, encoding);
    let found = await redis.getBuffer(key);
    cached.inc({ route: "/api/v1/listening-history", outcome: found === null ? "miss" : "hit" });
    if (found === null) {
      found = load(encoding);
      await redis.set(key, found, "EX", 3600);
    }
    const page = decodePage(found);
    if (page === null) return reply.code(500).send();
    void reply.headers({
      "x-request-id": request.id,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cache-control": "private, no-cache",
      vary: "Authorization, Accept-Encoding",
      etag: `"${page.etag}"`,
      "ratelimit-policy": `"reads";q=${LIMIT};w=60`,
      ratelimit: `"reads";r=${remaining};t=${Math.ceil(resetMs / 1000)}`,
      "content-type": "application/json; charset=utf-8",
      ...(page.encoding === "gzip" ? { "content-encoding": "gzip" } : {}),
    });
    if (request.headers["if-none-match"] === `"${page.etag}"`) return reply.code(304).send();
    return reply.send(page.body);
  },
);

await app.listen({ port: Number(PORT), host: "127.0.0.1" });
process.on("disconnect", () => process.exit());
process.send?.("ready");
