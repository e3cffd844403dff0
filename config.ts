/**
 * Settings of the api and the worker, read from the environment.
 *
 * `loadConfig` is pure: it takes the environment as an argument, reports every problem at once, and never
 * prints a value (a value may be a secret). Only entry points call it.
 */
import path from "node:path";
import Joi from "joi";
import { type ImportSettings, importSchemas, importsOf } from "./utils/importSettings.js";
import { proxyList, type Rates, rangesOf, rateSchemas, ratesOf } from "./utils/limitSettings.js";
import {
  type ProviderSettings,
  providerSchemas,
  providersOf,
  togetherOnly,
  type TokenKey,
  tokenKeysOf,
} from "./utils/providerSettings.js";
import { problemOf, whole } from "./utils/settings.js";

export interface Config {
  readonly home: string;
  readonly spoolDir: string;
  readonly http: { readonly host: string; readonly port: number; readonly publicUrl: string };
  readonly database: {
    readonly url: string;
    readonly poolMin: number;
    readonly poolMax: number;
    readonly connectTimeoutMs: number;
    readonly statementTimeoutMs: number;
    readonly lockTimeoutMs: number;
    /** After this an unused connection beyond `poolMin` is closed. */
    readonly idleTimeoutMs: number;
    /** How long a transaction may do nothing before the server ends it. */
    readonly idleTransactionTimeoutMs: number;
    readonly replica?: {
      readonly url: string;
      /** Reads leave a replica that is further behind. */
      readonly maxLagMs: number;
    };
  };
  readonly redis: { readonly url: string };
  /** What runs imports, undos, erases and syncs. */
  readonly queue: {
    readonly kind: "temporal" | "bullmq";
    /** For BullMQ: its name, and the Redis it is in. */
    readonly bull: { readonly name: string; readonly redisUrl: string };
  };
  readonly temporal: {
    /** Empty where it is not used and was not given. */
    readonly address: string;
    readonly namespace: string;
    readonly taskQueue: string;
    /** Base URL of the Temporal UI for links in start-up output; absent when there is none. */
    readonly uiUrl?: string;
  };
  readonly auth: {
    /** Absent: the api makes one and keeps it in `home`. */
    readonly jwtSecret?: string;
    /** Accepted, not used for anything new. */
    readonly jwtPreviousSecrets: readonly string[];
    readonly bcryptCost: number;
    readonly registration: "open" | "invite" | "closed";
  };
  readonly imports: ImportSettings;
  readonly providers: ProviderSettings;
  /** Encrypt what users' accounts at providers are opened with, the first for new ones; none: one is made and kept in `home`. */
  readonly tokenKeys: readonly TokenKey[];
  readonly limits: {
    readonly enabled: boolean;
    /** Addresses and CIDR ranges. */
    readonly trustedProxies: readonly string[];
    readonly rates: Rates;
  };
  /** Ports of 127.0.0.1 (or `OPS_HOST`) that serve /metrics; absent: not served, 0: any free one. */
  readonly ops: { readonly host: string; readonly apiPort?: number; readonly workerPort?: number };
  readonly log: { readonly level: "error" | "warn" | "info" | "debug"; readonly format: "json" | "pretty" };
  readonly sqlLog: { readonly mode: "off" | "slow" | "all"; readonly slowMs: number };
  readonly shutdownGraceMs: number;
}

/** Thrown by `loadConfig` with one line per problem; names variables, never their values. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(
      `The configuration has ${problems.length} problem(s):\n${problems.map((p) => `  - ${p}`).join("\n")}`,
    );
    this.name = "ConfigError";
  }
}

const schema = Joi.object({
  PLAYLOG_HOME: Joi.string().default(".playlog"),
  HOST: Joi.string().hostname().default("127.0.0.1"),
  PORT: Joi.number().port().default(3000),
  PUBLIC_URL: Joi.string().uri({ scheme: ["http", "https"] }),
  DATABASE_URL: Joi.string()
    .uri({ scheme: ["postgres", "postgresql"] })
    .required(),
  DB_POOL_MIN: whole(0, 100).default(0),
  DB_POOL_MAX: whole(1, 200).default(10),
  DB_CONNECT_TIMEOUT_MS: whole(100, 60_000).default(1500),
  DB_STATEMENT_TIMEOUT_MS: whole(100, 600_000).default(3000),
  DB_LOCK_TIMEOUT_MS: whole(100, 600_000).default(2000),
  DB_IDLE_TIMEOUT_MS: whole(100, 3_600_000).default(30_000),
  DB_IDLE_TRANSACTION_TIMEOUT_MS: whole(100, 600_000).default(10_000),
  DATABASE_REPLICA_URL: Joi.string().uri({ scheme: ["postgres", "postgresql"] }),
  REPLICA_MAX_LAG_MS: whole(500, 3_600_000).default(5000),
  REDIS_URL: Joi.string()
    .uri({ scheme: ["redis", "rediss"] })
    .required(),
  IMPORT_QUEUE: Joi.string().valid("temporal", "bullmq").default("temporal"),
  BULL_QUEUE: Joi.string()
    .pattern(/^[\w-]{1,100}$/, "letters, digits, _ and -")
    .default("playlog-imports"),
  BULL_REDIS_URL: Joi.string().uri({ scheme: ["redis", "rediss"] }),
  TEMPORAL_ADDRESS: Joi.string()
    .pattern(/^[^\s/:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$/, "host:port")
    .when("IMPORT_QUEUE", { is: "bullmq", otherwise: Joi.required() }),
  TEMPORAL_NAMESPACE: Joi.string().default("default"),
  TEMPORAL_TASK_QUEUE: Joi.string().max(200).default("playlog-imports"),
  TEMPORAL_UI_URL: Joi.string().uri({ scheme: ["http", "https"] }),
  JWT_SECRET: Joi.string().min(32),
  JWT_PREVIOUS_SECRETS: Joi.string().pattern(
    /^[^,]{32,}(,[^,]{32,})*$/,
    "secrets of at least 32 characters with commas between them",
  ),
  BCRYPT_COST: whole(4, 15).default(10),
  REGISTRATION: Joi.string().valid("open", "invite", "closed").default("open"),
  ...importSchemas,
  ...providerSchemas,
  RATE_LIMIT: Joi.string().valid("on", "off").default("on"),
  ...rateSchemas,
  TRUSTED_PROXIES: proxyList,
  OPS_HOST: Joi.string().hostname().default("127.0.0.1"),
  OPS_PORT: Joi.number().port(),
  WORKER_OPS_PORT: Joi.number().port(),
  LOG_LEVEL: Joi.string().valid("error", "warn", "info", "debug").default("info"),
  LOG_FORMAT: Joi.string().valid("json", "pretty").default("json"),
  LOG_SQL: Joi.string().valid("off", "slow", "all").default("off"),
  LOG_SQL_SLOW_MS: whole(0, 600_000).default(500),
  SHUTDOWN_GRACE_MS: whole(0, 600_000).default(20_000),
});

/** Names of all settings, for `.env.example` and its test. */
export const settingNames: readonly string[] = Object.keys(schema.describe().keys as object);

/**
 * Turns environment variables into settings with defaults. Empty strings count as absent.
 * Throws `ConfigError` naming every bad variable at once.
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given: Record<string, string> = {};
  for (const name of settingNames) {
    const value = env[name];
    if (value !== undefined && value !== "") given[name] = value;
  }
  const result: Joi.ValidationResult<unknown> = togetherOnly(schema).validate(given, { abortEarly: false });
  const problems = (result.error?.details ?? []).map(problemOf);
  if (problems.length > 0) throw new ConfigError(problems);

  const settings = result.value as Record<string, string | number | undefined>;
  const num = (name: string): number => Number(settings[name]);
  const text = (name: string): string => String(settings[name]);
  const optional = (name: string): string | undefined => settings[name]?.toString();
  const url = (name: string): string | undefined =>
    settings[name] === undefined ? undefined : text(name).replace(/\/+$/, "");
  const jwtSecret = settings["JWT_SECRET"] === undefined ? {} : { jwtSecret: text("JWT_SECRET") };
  const uiUrl = url("TEMPORAL_UI_URL");
  const replica =
    settings["DATABASE_REPLICA_URL"] === undefined
      ? undefined
      : { url: text("DATABASE_REPLICA_URL"), maxLagMs: num("REPLICA_MAX_LAG_MS") };
  const home = path.resolve(text("PLAYLOG_HOME"));
  return {
    home,
    spoolDir: path.join(home, "spool"),
    http: {
      host: text("HOST"),
      port: num("PORT"),
      publicUrl: url("PUBLIC_URL") ?? `http://localhost:${num("PORT")}`,
    },
    database: {
      url: text("DATABASE_URL"),
      poolMin: num("DB_POOL_MIN"),
      poolMax: num("DB_POOL_MAX"),
      connectTimeoutMs: num("DB_CONNECT_TIMEOUT_MS"),
      statementTimeoutMs: num("DB_STATEMENT_TIMEOUT_MS"),
      lockTimeoutMs: num("DB_LOCK_TIMEOUT_MS"),
      idleTimeoutMs: num("DB_IDLE_TIMEOUT_MS"),
      idleTransactionTimeoutMs: num("DB_IDLE_TRANSACTION_TIMEOUT_MS"),
      ...(replica === undefined ? {} : { replica }),
    },
    redis: { url: text("REDIS_URL") },
    queue: {
      kind: text("IMPORT_QUEUE") as Config["queue"]["kind"],
      bull: { name: text("BULL_QUEUE"), redisUrl: optional("BULL_REDIS_URL") ?? text("REDIS_URL") },
    },
    temporal: {
      address: optional("TEMPORAL_ADDRESS") ?? "",
      namespace: text("TEMPORAL_NAMESPACE"),
      taskQueue: text("TEMPORAL_TASK_QUEUE"),
      ...(uiUrl === undefined ? {} : { uiUrl }),
    },
    auth: {
      ...jwtSecret,
      jwtPreviousSecrets: (settings["JWT_PREVIOUS_SECRETS"]?.toString().split(",") ?? []).map((one) =>
        one.trim(),
      ),
      bcryptCost: num("BCRYPT_COST"),
      registration: text("REGISTRATION") as Config["auth"]["registration"],
    },
    imports: importsOf(num),
    providers: providersOf(optional),
    tokenKeys: tokenKeysOf(optional),
    limits: {
      enabled: text("RATE_LIMIT") === "on",
      trustedProxies: rangesOf(text("TRUSTED_PROXIES")),
      rates: ratesOf(text),
    },
    ops: {
      host: text("OPS_HOST"),
      ...(settings["OPS_PORT"] === undefined ? {} : { apiPort: num("OPS_PORT") }),
      ...(settings["WORKER_OPS_PORT"] === undefined ? {} : { workerPort: num("WORKER_OPS_PORT") }),
    },
    log: {
      level: text("LOG_LEVEL") as Config["log"]["level"],
      format: text("LOG_FORMAT") as Config["log"]["format"],
    },
    sqlLog: { mode: text("LOG_SQL") as Config["sqlLog"]["mode"], slowMs: num("LOG_SQL_SLOW_MS") },
    shutdownGraceMs: num("SHUTDOWN_GRACE_MS"),
  };
}
