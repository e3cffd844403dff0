/**
 * Which sessions have lately been revoked, by whatever process, held in memory. A copy of a session in Redis may be
 * believed only while this watch is trusted: a revocation that could not reach Redis reaches every process
 * through PostgreSQL, in the transaction that revokes. While the watch is not trusted PostgreSQL is asked.
 */
import { randomBytes } from "node:crypto";
import pg from "pg";
import type { Logger } from "../../utils/logger.js";

export const REVOCATION_CHANNEL = "playlog_session_revoked";

/** A revocation is remembered longer than any copy of its session can live in Redis. */
export const REMEMBER_MS = 300_000;
const BEAT_MS = 1000;
/** So long without hearing its own beat, the watch is deaf: the connection is dead, or a pooler swallowed LISTEN. */
const SILENCE_MS = 3000;
const MAX_RECONNECT_MS = 2000;

export interface RevocationWatchOptions {
  readonly databaseUrl: string;
  readonly log: Logger;
}

export class RevocationWatch {
  readonly #options: RevocationWatchOptions;
  readonly #beatChannel = `playlog_beat_${randomBytes(8).toString("hex")}`;
  /** Session id → when it may be forgotten, on the monotonic clock. */
  readonly #revoked = new Map<string, number>();
  #client: pg.Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastEcho = -Infinity;
  #attempt = 0;
  #closed = false;

  constructor(options: RevocationWatchOptions) {
    this.#options = options;
  }

  /** Resolves when the first attempt to connect is over; goes on trying until `close`. */
  async start(): Promise<void> {
    await this.#connect();
  }

  /** Whether every revocation up to now, give or take its delivery, is known here. */
  get trusted(): boolean {
    return performance.now() - this.#lastEcho < SILENCE_MS;
  }

  isRevoked(sessionId: string): boolean {
    return this.#revoked.has(sessionId);
  }

  /** For the process that revokes: it does not wait for its own notification. */
  remember(sessionId: string): void {
    this.#revoked.set(sessionId, performance.now() + REMEMBER_MS);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#drop();
  }

  async #connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#options.databaseUrl,
      application_name: "playlog-revocations",
      connectionTimeoutMillis: 1500,
      query_timeout: SILENCE_MS,
      keepAlive: true,
    });
    this.#client = client;
    client.on("error", () => this.#lost(client));
    client.on("end", () => this.#lost(client));
    client.on("notification", ({ channel, payload }) => {
      if (channel === this.#beatChannel) this.#lastEcho = performance.now();
      else if (payload !== undefined) this.remember(payload);
    });
    try {
      await client.connect();
      // Beats need not survive a crash, and must not cost a flush each second.
      await client.query("set synchronous_commit = off");
      await client.query(`listen ${REVOCATION_CHANNEL}`);
      await this.#catchUp(client);
      await client.query(`listen ${this.#beatChannel}`);
      await this.#beat(client);
      this.#attempt = 0;
    } catch {
      this.#lost(client);
    }
  }

  /** What was revoked before this connection listened. */
  async #catchUp(client: pg.Client): Promise<void> {
    const { rows } = await client.query<{ id: string }>(
      "select id from sessions where revoked_at > now() - make_interval(secs => $1)",
      [REMEMBER_MS / 1000],
    );
    for (const { id } of rows) this.remember(id);
  }

  async #beat(client: pg.Client): Promise<void> {
    await client.query("select pg_notify($1, '')", [this.#beatChannel]);
    const now = performance.now();
    for (const [sessionId, forgetAt] of this.#revoked) if (forgetAt < now) this.#revoked.delete(sessionId);
    if (this.#closed || this.#client !== client) return;
    this.#timer = setTimeout(() => {
      this.#beat(client).catch(() => this.#lost(client));
    }, BEAT_MS);
  }

  /** Forgets nothing: what is known to be revoked stays so. */
  #lost(client: pg.Client): void {
    if (this.#client !== client) return;
    this.#lastEcho = -Infinity;
    void this.#drop();
    if (this.#closed) return;
    if (this.#attempt === 0)
      this.#options.log.warn("revocation watch lost its connection; asking the database");
    const delay = Math.min(100 * 2 ** this.#attempt, MAX_RECONNECT_MS);
    this.#attempt += 1;
    this.#timer = setTimeout(() => void this.#connect(), delay);
  }

  async #drop(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    clearTimeout(this.#timer);
    await client?.end().catch(() => undefined);
  }
}
