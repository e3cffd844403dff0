import { Counter } from "prom-client";
import type { ReadPlace, ReplicaConnections } from "../../db/replica.js";
import type { ApiMetrics } from "./ApiMetrics.js";

const PLACES: readonly ReadPlace[] = ["replica", "primary", "retried"];

/** Shows the replica as it was seen last, and counts where reads were answered that it may answer. */
export function observeReplica(
  metrics: ApiMetrics,
  { watch }: ReplicaConnections,
): (place: ReadPlace) => void {
  metrics.addGauge(
    "playlog_replica_up",
    "1 while the replica answers as one of this database; looked at while somebody reads",
    () => Number(watch.state.problem === null),
  );
  metrics.addGauge(
    "playlog_replica_lag_seconds",
    "How far the replica was behind when it was looked at last; NaN: not known",
    () => (watch.state.lagMs ?? Number.NaN) / 1000,
  );
  metrics.addGauge(
    "playlog_replica_lag_bytes",
    "Log of the primary that the replica had not replayed when it was looked at last; NaN: not known",
    () => watch.state.lagBytes ?? Number.NaN,
  );
  const reads = new Counter({
    name: "playlog_replica_reads_total",
    help: "Reads that a replica may answer, by who did; retried: the primary, after the replica had failed",
    labelNames: ["place"],
    registers: [metrics.registry],
  });
  for (const place of PLACES) reads.inc({ place }, 0);
  return (place) => reads.inc({ place });
}
