/** Whether the database answers, asked over a connection of its own: a full pool is no dead server. */
import pg from "pg";
import type { Config } from "../config.js";

export interface ProbeResult {
  readonly state: "up" | "down";
  /** Round trip of one small query, without connecting; null when down. */
  readonly latencyMs: number | null;
  /** Name of the newest migration that was applied; null when down, or before the first. */
  readonly migration: string | null;
}

const DOWN: ProbeResult = { state: "down", latencyMs: null, migration: null };
const PATIENCE_MS = 2000;

export class DatabaseProbe {
  readonly #settings: Config["database"];
  #running: Promise<ProbeResult> | undefined;

  constructor(settings: Config["database"]) {
    this.#settings = settings;
  }

  /** Never throws, and takes at most about four seconds. Callers at the same time share one connection. */
  check(): Promise<ProbeResult> {
    this.#running ??= this.#ask()
      .catch(() => DOWN)
      .finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #ask(): Promise<ProbeResult> {
    const client = new pg.Client({
      connectionString: this.#settings.url,
      application_name: "playlog-health",
      connectionTimeoutMillis: Math.min(this.#settings.connectTimeoutMs, PATIENCE_MS),
      query_timeout: PATIENCE_MS,
    });
    client.on("error", () => undefined); // the pending call rejects with it
    try {
      await client.connect();
      const started = performance.now();
      const { rows } = await client.query<{ name: string }>(
        "select name from knex_migrations order by id desc limit 1",
      );
      const latencyMs = Math.round((performance.now() - started) * 100) / 100;
      return { state: "up", latencyMs, migration: rows[0]?.name ?? null };
    } finally {
      void client.end().catch(() => undefined);
    }
  }
}
