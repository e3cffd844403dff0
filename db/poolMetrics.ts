/** The connections of a process, as gauges. Counted when they are asked for; no server is asked. */
import { Gauge } from "prom-client";
import type { Registry } from "prom-client";
import { poolStatus } from "./knex.js";
import type { Database } from "./knex.js";

export function addPoolMetrics(registry: Registry, database: Database): void {
  const pools = () => {
    const { knex, pool, replica } = poolStatus(database);
    return [
      ["knex", knex] as const,
      ["pg", pool] as const,
      ...(replica === undefined ? [] : [["replica", replica] as const]),
    ];
  };
  new Gauge({
    name: "playlog_pool_connections",
    help: "Connections to the database, by pool and by whether they are in use",
    labelNames: ["pool", "state"],
    registers: [registry],
    collect() {
      for (const [pool, counts] of pools()) {
        this.set({ pool, state: "used" }, counts.used);
        this.set({ pool, state: "free" }, counts.free);
      }
    },
  });
  new Gauge({
    name: "playlog_pool_waiting",
    help: "Callers that wait for a connection",
    labelNames: ["pool"],
    registers: [registry],
    collect() {
      for (const [pool, counts] of pools()) this.set({ pool }, counts.pending);
    },
  });
  new Gauge({
    name: "playlog_pool_max",
    help: "Connections a pool may hold",
    labelNames: ["pool"],
    registers: [registry],
    collect() {
      for (const [pool, counts] of pools()) this.set({ pool }, counts.max);
    },
  });
}
