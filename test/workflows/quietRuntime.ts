import { DefaultLogger, Runtime } from "@temporalio/worker";

let installed = false;

/** Temporal's native part, once per process, without its running commentary. Call it before any worker or native connection. */
export function quietRuntime(): void {
  if (installed) return;
  Runtime.install({
    logger: new DefaultLogger("ERROR"),
    shutdownSignals: [],
    telemetryOptions: { logging: { filter: { core: "ERROR", other: "ERROR" } } },
  });
  installed = true;
}
