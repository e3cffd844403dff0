/** The state of all imports, as gauges of the worker: read from the database when somebody scrapes. */
import { Gauge } from "prom-client";
import type { Registry } from "prom-client";
import pg from "pg";
import type { Config } from "../config.js";
import { importBacklog } from "../db/queries/importBacklog.js";
import type { ImportBacklog } from "../db/queries/importBacklog.js";

/** Several servers may scrape, and each scrape asks for several gauges: one answer serves them for so long. */
const KEPT_MS = 5000;
/** A scrape must be quick; what the database does not say in this time is missing from it. */
const PATIENCE_MS = 1000;

export class BacklogReader {
  #at = -Infinity;
  #reading: Promise<ImportBacklog | null> | undefined;

  constructor(private readonly settings: Config["database"]) {}

  /** Null when the database does not answer. Never throws; callers share one connection, which is not of the pools. */
  read(): Promise<ImportBacklog | null> {
    if (this.#reading === undefined || performance.now() - this.#at > KEPT_MS) {
      this.#at = performance.now();
      this.#reading = this.#ask().catch(() => null);
    }
    return this.#reading;
  }

  async #ask(): Promise<ImportBacklog> {
    const client = new pg.Client({
      connectionString: this.settings.url,
      application_name: "playlog-metrics",
      connectionTimeoutMillis: Math.min(this.settings.connectTimeoutMs, PATIENCE_MS),
      statement_timeout: PATIENCE_MS,
      query_timeout: 2 * PATIENCE_MS,
    });
    client.on("error", () => undefined); // the pending call rejects with it
    try {
      await client.connect();
      return await importBacklog(client);
    } finally {
      void client.end().catch(() => undefined);
    }
  }
}

/** While the database is away only `playlog_database_up` has a value. */
export function addBacklogMetrics(registry: Registry, reader: BacklogReader): void {
  const gauge = (
    name: string,
    help: string,
    set: (backlog: ImportBacklog, gauge: Gauge<string>) => void,
    labels: string[] = [],
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: labels,
      registers: [registry],
      async collect() {
        this.reset();
        const backlog = await reader.read();
        if (backlog === null) this.remove({});
        else set(backlog, this);
      },
    });
  };
  new Gauge({
    name: "playlog_database_up",
    help: "1 when the database answered the questions of this scrape",
    registers: [registry],
    async collect() {
      this.set((await reader.read()) === null ? 0 : 1);
    },
  });
  gauge(
    "playlog_imports_open",
    "Imports that are not closed, by status",
    ({ open }, self) => open.forEach(({ status, jobs }) => self.set({ status }, jobs)),
    ["status"],
  );
  gauge(
    "playlog_imports_waiting",
    "Open imports that wait for something outside, by what for",
    ({ waiting }, self) => waiting.forEach(({ reason, jobs }) => self.set({ reason }, jobs)),
    ["reason"],
  );
  gauge(
    "playlog_import_oldest_queued_seconds",
    "Age of the import that has waited longest for its first step; 0 when none waits",
    ({ oldestQueuedSeconds }, self) => self.set(oldestQueuedSeconds),
  );
  gauge(
    "playlog_import_longest_stalled_seconds",
    "Longest time a running import has committed nothing; 0 when none runs",
    ({ longestStalledSeconds }, self) => self.set(longestStalledSeconds),
  );
  gauge(
    "playlog_connections",
    "Accounts at providers that users have connected, by status",
    ({ connections }, self) => connections.forEach(({ status, count }) => self.set({ status }, count)),
    ["status"],
  );
}
