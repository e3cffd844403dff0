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

export interface LogSettings {
  readonly level: "error" | "warn" | "info" | "debug";
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
const MAX_DEPTH = 6;
const MAX_TEXT = 2000;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

function cleanText(text: string): string {
  const short = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
  const plain = short.replace(TOKEN_VALUE, REDACTED).replace(CONTROL, escaped);
  if (!plain.includes("@")) return plain; // looking for addresses costs more than all the rest
  return plain.replace(URL_PASSWORD, `$1${REDACTED}@`).replace(EMAIL_VALUE, REDACTED);
}

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
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === "string") return cleanText(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_DEPTH) return "[deeper]";
  if (value instanceof Error) return describeError(value, depth);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "[invalid date]" : value.toISOString();
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.slice(0, 100).map((item) => redact(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      SENSITIVE_KEY.test(key) && item !== null && item !== undefined ? REDACTED : redact(item, depth + 1),
    ]),
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

const pretty = winston.format.printf((info) => {
  const { timestamp, level, message, service, ...fields } = info;
  const tail = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const line = `${String(timestamp).slice(11, 23)} ${level.toUpperCase().padEnd(5)} ${String(service)}: ${String(message)}${tail.join("")}`;
  return line.replace(PLAIN_CONTROL, escaped);
});

/**
 * @param fields go on every line; `service` names the process (`api`, `worker`)
 * @param destination for tests; stdout otherwise
 */
export function createLogger(
  settings: LogSettings,
  fields: LogFields & { readonly service: string },
  destination?: NodeJS.WritableStream,
): Logger {
  const output = winston.createLogger({
    level: settings.level,
    format: winston.format.combine(
      winston.format.timestamp(),
      settings.format === "json" ? winston.format.json() : pretty,
    ),
    transports: [
      destination === undefined
        ? new winston.transports.Console()
        : new winston.transports.Stream({ stream: destination }),
    ],
  });
  return wrap(output, fields);
}

/** winston joins `message` and a field called `message`; going through one object keeps them apart. */
function wrap(output: winston.Logger, own: LogFields): Logger {
  const write =
    (level: LogSettings["level"]) =>
    (message: string, fields: LogFields = {}): void => {
      if (!output.isLevelEnabled(level)) return;
      const line = redact({ ...own, ...scope.getStore(), ...fields }) as LogFields;
      output.log({ ...line, level, message: cleanText(message) });
    };
  return {
    error: write("error"),
    warn: write("warn"),
    info: write("info"),
    debug: write("debug"),
    child: (fields) => wrap(output, { ...own, ...fields }),
  };
}
