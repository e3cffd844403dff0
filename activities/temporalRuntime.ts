/** The SDK's runtime, installed once per process: its logs through ours, its metrics into ours. */
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { DefaultLogger, Runtime } from "@temporalio/worker";
import type { LogLevel } from "@temporalio/worker";
import type { Logger } from "../utils/logger.js";

/** The native part serves its metrics itself, on a port of this machine that nobody else is told. */
const LOOPBACK = "127.0.0.1";
const PATIENCE_MS = 1000;
const TRIES = 5;
/** What the SDK warns of and is as it should be: the lanes of syncs have activities only. */
const MEANT: ReadonlySet<string> = new Set(["No workflows registered, not polling for workflow tasks"]);

/** What the SDK measures, in the text format of Prometheus; null when it does not say. */
export type TemporalMetrics = () => Promise<string | null>;

/** @param withMetrics false: the SDK measures nothing, and there is nothing to read */
export async function installTemporalRuntime(log: Logger, withMetrics: boolean): Promise<TemporalMetrics> {
  const options = {
    // The process stops as a whole, in the order of its entry point; the SDK would only drain the worker.
    shutdownSignals: [],
    logger: new DefaultLogger("WARN", ({ level, message, meta }) =>
      log[MEANT.has(message) ? "debug" : LEVELS[level]](message, { sdk: meta }),
    ),
  };
  if (!withMetrics) {
    Runtime.install(options);
    return () => Promise.resolve(null);
  }
  for (let tries = 1; ; tries += 1) {
    const bindAddress = `${LOOPBACK}:${await freePort()}`;
    const prometheus = {
      bindAddress,
      countersTotalSuffix: true,
      unitSuffix: true,
      useSecondsForDurations: true,
    };
    try {
      Runtime.install({
        ...options,
        telemetryOptions: { metrics: { attachServiceName: false, prometheus } },
      });
      return () => read(`http://${bindAddress}/metrics`);
    } catch (error) {
      // It binds the port itself, so another program may have been faster.
      if (tries === TRIES) throw error;
    }
  }
}

const LEVELS: Readonly<Record<LogLevel, "debug" | "info" | "warn" | "error">> = {
  TRACE: "debug",
  DEBUG: "debug",
  INFO: "info",
  WARN: "warn",
  ERROR: "error",
};

async function read(url: string): Promise<string | null> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
    return response.ok ? await response.text() : null;
  } catch {
    return null;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, LOOPBACK);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // a TCP server that listens has one
  server.close();
  await once(server, "close");
  return port;
}
