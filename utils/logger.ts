/**
 * Structured logs: one line per event, each through one redactor. Errors are logged once, where they are
 * handled. Fields named like secrets or personal data never get out, wherever they are nested.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import winston from "winston";

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each of its lines. */
  child(fields: LogFields): Logger;
}

/** The gravest first. */
const LEVELS = ["error", "warn", "info", "debug"] as const;

export interface LogSettings {
  readonly level: (typeof LEVELS)[number];
  readonly format: "json" | "pretty";
}

const REDACTED = "[redacted]";
const SENSITIVE_KEY =
  /pass|token|authorization|secret|e-?mail|cookie|jwt|api[-_]?key|^login$|^body$|credential/i;
/** Access tokens, personal API tokens, refresh tokens. */
const TOKEN_VALUE =
  /\beyJ[\w-]{5,}\.[\w-]+\.[\w-]+|\bplaylog_[\w-]{43}|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.\d{1,9}\.[\w-]{43}/g;
const URL_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@]*:)[^\s/@]+@/gi;
/** Addresses of people, wherever they turn up. */
const EMAIL_VALUE = /[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+/g;
/** Beyond what JSON escapes: some readers of logs take these for the end of a line, or a terminal for a command. */
const CONTROL = /[\u007f-\u009f\u2028\u2029]/g;
/** And what JSON would escape, for lines that are no JSON. */
const PLAIN_CONTROL = /\p{Cc}/gu;
/** Text without any of these has nothing in it that the patterns above look for. */
const SUSPECT = /[@\u007f-\u009f\u2028\u2029]|eyJ|playlog_|\.\d/;
const MAX_DEPTH = 6;
const MAX_TEXT = 2000;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

function cleanText(text: string): string {
  const short = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
  if (!SUSPECT.test(short)) return short;
  const plain = short.replace(TOKEN_VALUE, REDACTED).replace(CONTROL, escaped);
  if (!plain.includes("@")) return plain; // looking for addresses costs more than all the rest
  return plain.replace(URL_PASSWORD, `$1${REDACTED}@`).replace(EMAIL_VALUE, REDACTED);
}

/** Names of fields come from the code, so there are few; those of what somebody sent must not pile up. */
const MAX_KEYS = 1000;
const sensitiveKeys = new Map<string, boolean>();

function isSensitive(key: string): boolean {
  const known = sensitiveKeys.get(key);
  if (known !== undefined) return known;
  const sensitive = SENSITIVE_KEY.test(key);
  if (sensitiveKeys.size < MAX_KEYS) sensitiveKeys.set(key, sensitive);
  return sensitive;
}

const redactField = (key: string, value: unknown, depth: number): unknown =>
  value !== null && value !== undefined && isSensitive(key) ? REDACTED : redact(value, depth);

/**
 * What may be said about an error. PostgreSQL puts values of rows into `message` and `detail`, and knex puts the
 * statement in front, so an error with a SQLSTATE is told by its code and its constraint alone.
 */
function describeError(error: Error, depth: number): LogFields {
  const { code, constraint, table, severity } = error as Error & Record<string, unknown>;
  const fromDatabase = typeof severity === "string" && typeof code === "string" && code.length === 5;
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return {
    name: error.name,
    ...(fromDatabase ? {} : { message: cleanText(error.message) }),
    ...(typeof code === "string" ? { code } : {}),
    ...(typeof constraint === "string" ? { constraint } : {}),
    ...(typeof table === "string" ? { table } : {}),
    stack: frames.slice(0, 12).map((line) => line.trim()),
    ...(error.cause === undefined ? {} : { cause: redact(error.cause, depth + 1) }),
  };
}

/** A copy of `value` that may be logged. Exported for tests and for other writers of diagnostics. */
function redact(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return cleanText(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_DEPTH) return "[deeper]";
  if (value instanceof Error) return describeError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "[invalid date]" : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.slice(0, 100).map((item) => redact(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, redactField(key, item, depth + 1)]),
  );
}

const scope = new AsyncLocalStorage<LogFields>();

/** Adds `fields` (a request id, say) to every line logged while `work` runs, in whatever module. */
export const withLogFields = <T>(fields: LogFields, work: () => T): T =>
  scope.run({ ...scope.getStore(), ...fields }, work);

/** What the innermost `withLogFields` around the caller gave under this name; undefined outside of any. */
export const logField = (name: string): unknown => scope.getStore()?.[name];

/** Runs work with the fields there are now, wherever it is called: what a connection reports at some time is not its doing. */
export function boundLogFields(): <T>(work: () => T) => T {
  const fields = scope.getStore() ?? {};
  return (work) => scope.run(fields, work);
}

/** What is written: these first, then the fields. */
interface Line extends Record<string, unknown> {
  readonly timestamp: string;
  readonly level: LogSettings["level"];
  readonly message: string;
}

const RESERVED: ReadonlySet<string> = new Set(["timestamp", "level", "message"] satisfies (keyof Line)[]);

function prettyLine({ timestamp, level, message, service, ...fields }: Line): string {
  const tail = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const line = `${timestamp.slice(11, 23)} ${level.toUpperCase().padEnd(5)} ${String(service)}: ${message}${tail.join("")}`;
  return line.replace(PLAIN_CONTROL, escaped);
}

/** Where winston's formats leave the text for its transports. */
const TEXT = Symbol.for("message");
const LEVEL = Symbol.for("level");

/** An event as it goes through winston, whose formats would go over each field twice more. */
interface Entry extends winston.LogEntry {
  readonly [TEXT]: string;
}

/**
 * @param fields go on every line; `service` names the process (`api`, `worker`)
 * @param destination for tests; stdout otherwise
 */
export function createLogger(
  settings: LogSettings,
  fields: LogFields & { readonly service: string },
  destination: NodeJS.WritableStream = process.stdout,
): Logger {
  const winstonLogger = winston.createLogger({
    level: settings.level,
    format: winston.format((entry) => entry)(),
    transports: [new winston.transports.Stream({ stream: destination })],
  });
  const render = settings.format === "json" ? JSON.stringify : prettyLine;
  const enabled = LEVELS.slice(0, LEVELS.indexOf(settings.level) + 1);
  return wrap({ winstonLogger, render, enabled }, fields);
}

interface Output {
  readonly winstonLogger: winston.Logger;
  readonly render: (line: Line) => string;
  readonly enabled: readonly LogSettings["level"][];
}

function wrap(output: Output, own: LogFields): Logger {
  const { winstonLogger, render, enabled } = output;
  const write = (level: LogSettings["level"]) => {
    if (!enabled.includes(level)) return () => undefined;
    return (message: string, fields?: LogFields): void => {
      const line: Line = { timestamp: new Date().toISOString(), level, message: cleanText(message) };
      add(line, own);
      add(line, scope.getStore());
      add(line, fields);
      const entry: Entry = { level, message: line.message, [LEVEL]: level, [TEXT]: render(line) };
      winstonLogger.write(entry);
    };
  };
  return {
    error: write("error"),
    warn: write("warn"),
    info: write("info"),
    debug: write("debug"),
    child: (fields) => wrap(output, { ...own, ...fields }),
  };
}

/** Puts what may be logged of `fields` on the line; what it is made of cannot be replaced by a field of that name. */
function add(line: Record<string, unknown>, fields: LogFields | undefined): void {
  for (const key in fields) if (!RESERVED.has(key)) line[key] = redactField(key, fields[key], 1);
}
