/**
 * Statements in the log: one line each, with a fingerprint instead of values. The line carries the request id (and in the
 * worker the import) of whoever sent the statement; the statement itself does not, see docs/adr/0018.
 */
import { createHash } from "node:crypto";
import { boundLogFields, type Logger } from "../utils/logger.js";
import { sqlState } from "./errors.js";
import type { Database } from "./knex.js";
import { operationOf } from "./statements.js";

export interface SqlLogSettings {
  /** slow: those of `slowMs` and more. */
  readonly mode: "off" | "slow" | "all";
  readonly slowMs: number;
}

export interface Fingerprint {
  /** The same for statements that differ in values, in the length of their lists and in white space only. */
  readonly fingerprint: string;
  /** The beginning of the statement, without anything that could be a value. */
  readonly statement: string;
}

const SHOWN_LENGTH = 200;
/** Fingerprints kept; the process sends a few hundred different statements. */
const MAX_KNOWN = 1000;
/** A longer text is an insert of many rows, and rarely comes again. */
const MAX_KNOWN_LENGTH = 10_000;

const known = new Map<string, Fingerprint>();

/**
 * Everything that may be a value (strings of every kind, numbers, placeholders), and what only looks as if it began or ended
 * one: comments and quoted names. In one pass, since each may contain the marks of the others.
 */
const TOKENS =
  /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|"(?:[^"]|"")*(?:"|$)|\b[eE]'(?:[^'\\]|''|\\[\s\S])*(?:'|$)|'(?:[^']|'')*(?:'|$)|\$\d+|\$((?:[a-z_]\w*)?)\$[\s\S]*?(?:\$\1\$|$)|(?<![\w$])\d[\d._]*(?:e[+-]?\d+)?/gi;

function withoutValue(token: string): string {
  if (token.startsWith('"')) return token;
  return token.startsWith("-") || token.startsWith("/") ? " " : "?";
}

/** A list of values has the length 1. */
const normalised = (text: string): string =>
  text
    .replace(TOKENS, withoutValue)
    .replace(/\s+/g, " ")
    .replace(/\(\s*\?(?:\s*,\s*\?)*\s*\)/g, "(?)")
    .replace(/\(\?\)(?:\s*,\s*\(\?\))+/g, "(?)")
    .trim();

export function fingerprintOf(text: string): Fingerprint {
  const found = known.get(text);
  if (found !== undefined) return found;
  const whole = normalised(text);
  const made = {
    fingerprint: createHash("sha256").update(whole).digest("hex").slice(0, 12),
    statement: whole.length > SHOWN_LENGTH ? `${whole.slice(0, SHOWN_LENGTH)}...` : whole,
  };
  if (text.length <= MAX_KNOWN_LENGTH) {
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(text, made);
  }
  return made;
}

/** Logs the statements of both pools from now on; slow ones as warnings. */
export function logStatements(
  { statements }: Pick<Database, "statements">,
  { mode, slowMs }: SqlLogSettings,
  log: Logger,
): void {
  if (mode === "off") return;
  statements.observe((text) => {
    // The end is told from the connection, which knows nothing of who sent the statement.
    const bound = boundLogFields();
    return ({ ms, rows, error }) => {
      const slow = ms >= slowMs;
      if (mode === "slow" && !slow) return;
      const line = {
        ...fingerprintOf(text),
        operation: operationOf(text),
        ms: Math.round(ms * 10) / 10,
        rows,
        ...(error === null ? {} : { failed: sqlState(error) ?? "connection" }),
      };
      bound(() => (slow ? log.warn("slow sql", line) : log.info("sql", line)));
    };
  });
}
