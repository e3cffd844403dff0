/** The statements of a process, counted and timed. */
import { Histogram } from "prom-client";
import type { Registry } from "prom-client";
import { WORK_SECONDS } from "../utils/metrics.js";
import type { Database } from "./knex.js";
import { type Operation, operationOf } from "./statements.js";

/** Below those of work in the background: most statements take less than a millisecond. */
const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, ...WORK_SECONDS.filter((seconds) => seconds <= 60)];
/** Kinds are looked up by text; the process sends a few hundred different ones. */
const MAX_KNOWN = 1000;
const MAX_KNOWN_LENGTH = 10_000;

export function addSqlMetrics(registry: Registry, { statements }: Pick<Database, "statements">): void {
  const seconds = new Histogram({
    name: "playlog_sql_seconds",
    help: "Statements by kind and outcome, from when they are sent on a connection until they end",
    labelNames: ["operation", "outcome"],
    buckets: BUCKETS,
    registers: [registry],
  });
  const known = new Map<string, Operation>();
  const kindOf = (text: string): Operation => {
    const found = known.get(text);
    if (found !== undefined || text.length > MAX_KNOWN_LENGTH) return found ?? operationOf(text);
    if (known.size >= MAX_KNOWN) known.clear();
    const kind = operationOf(text);
    known.set(text, kind);
    return kind;
  };
  statements.observe((text) => ({ ms, error }) => {
    const outcome = error === null ? "ok" : "failed";
    seconds.observe({ operation: kindOf(text), outcome }, ms / 1000);
  });
}
