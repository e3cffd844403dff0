/** What every process of playlog does alike: read its settings or say what is wrong with them, and end when it is told to. */
import type { Logger } from "./logger.js";

/** Thrown at the start of a process when there is nothing to debug, only something to do: its message is all that is printed. */
export class StartupError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "StartupError";
  }
}

/** The settings, or the end of the process: what is wrong with them is all that is printed. */
export function settingsOrExit<T>(load: () => T, isProblem: (error: unknown) => error is Error): T {
  try {
    return load();
  } catch (error) {
    if (!isProblem(error)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}

/**
 * Calls `stop` on SIGTERM and SIGINT, when a supervisor is gone (nobody would stop this process any more), and, with
 * `failed`, on errors that nobody caught.
 */
export function onEndOfProcess(log: Logger, stop: (reason: string, failed: boolean) => void): void {
  process.on("SIGTERM", () => stop("SIGTERM", false));
  process.on("SIGINT", () => stop("SIGINT", false));
  if (process.send !== undefined) process.on("disconnect", () => stop("supervisor gone", false));
  process.on("uncaughtException", (error) => {
    log.error("uncaught exception", { error });
    stop("uncaught exception", true);
  });
  process.on("unhandledRejection", (error) => {
    log.error("unhandled rejection", { error });
    stop("unhandled rejection", true);
  });
}
