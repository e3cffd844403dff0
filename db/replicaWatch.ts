/**
 * How far a streaming replica has come. While somebody wants to read from it, the primary is asked again and again where its
 * log ends, and the replica what of it has been replayed. Everything that was committed before the primary was asked stands
 * before the place it named; so once the replica has passed that place, it has everything from before that moment.
 */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

/**
 * down: no answer in time. not_a_standby: the address leads to a primary, or the replica was promoted. other_history: a
 * copy of another cluster, or of a past that the primary has left. unknown: nobody has asked yet.
 */
export type ReplicaProblem = "unknown" | "down" | "not_a_standby" | "other_history";

export interface ReplicaState {
  readonly problem: ReplicaProblem | null;
  /** Round trip of the last question; null when it had no answer. */
  readonly latencyMs: number | null;
  /** Age of the newest moment from before which the replica had everything, when it was asked last; 0: level. */
  readonly lagMs: number | null;
  /** Log of the primary that it had not replayed, when it was asked last. */
  readonly lagBytes: number | null;
}

export interface ReplicaWatchOptions {
  readonly primaryUrl: string;
  readonly replicaUrl: string;
}

const POLL_MS = 200;
/** Between questions to a replica that does not answer. */
const MAX_PAUSE_MS = 2000;
/** Nobody is asked when nobody wanted to read for so long. */
const IDLE_MS = 10_000;
/** A server that answers later than this counts as down. */
const PATIENCE_MS = 1000;
/** Moments remembered while the replica is behind; beyond, every second one is forgotten. */
const MAX_MARKS = 128;

/** A place in the log. Until a commit is visible its record stands before the end of the log, flushed or not. */
const PRIMARY_POSITION = `
  select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text as lsn,
         ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer as timeline,
         (select system_identifier::text from pg_control_system()) as cluster`;

/** What it receives tells of a new timeline at once; without a right to see that, its next restart point does. */
const REPLICA_POSITION = `
  select pg_is_in_recovery() as standby,
         coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::text as lsn,
         greatest((select received_tli from pg_stat_wal_receiver),
                  (select timeline_id from pg_control_checkpoint())) as timeline,
         (select system_identifier::text from pg_control_system()) as cluster`;

interface PositionRow {
  readonly lsn: string;
  readonly timeline: number;
  readonly cluster: string;
}

interface Position {
  /** Bytes from the beginning of all log. */
  readonly lsn: number;
  readonly timeline: number;
  readonly cluster: string;
}

interface Mark {
  /** When the primary was asked, on the monotonic clock. */
  readonly at: number;
  readonly lsn: number;
}

const positionOf = ({ lsn, timeline, cluster }: PositionRow): Position => ({
  lsn: Number(lsn),
  timeline,
  cluster,
});

const UNKNOWN: ReplicaState = { problem: "unknown", latencyMs: null, lagMs: null, lagBytes: null };

export class ReplicaWatch {
  readonly #primary: Line;
  readonly #replica: Line;
  readonly #whenLost = new Set<() => void>();
  /** Moments the replica has not been seen to reach, oldest first. */
  #marks: Mark[] = [];
  #primaryAt: Position | undefined;
  #freshUntil = -Infinity;
  #state = UNKNOWN;
  #wantedAt = -Infinity;
  #running = false;
  #asking: Promise<void> | undefined;
  #closed = false;

  constructor({ primaryUrl, replicaUrl }: ReplicaWatchOptions) {
    this.#primary = new Line(primaryUrl);
    this.#replica = new Line(replicaUrl);
  }

  /** Everything committed before this moment of the monotonic clock is on the replica. -Infinity: nothing is known. */
  get freshUntil(): number {
    return this.#freshUntil;
  }

  get state(): ReplicaState {
    return this.#state;
  }

  /** To be called by whoever would read from the replica: keeps the questions going for a while. */
  wanted(): void {
    this.#wantedAt = performance.now();
    if (this.#running || this.#closed) return;
    this.#running = true;
    void this.#run(); // never rejects
  }

  /** Asks both servers now. Never rejects, and takes a few seconds at most. */
  async check(): Promise<ReplicaState> {
    await this.#ask();
    return this.#state;
  }

  /** Calls `lost`, once, when the replica stops answering or being one. Gives the way to take that back. */
  onLost(lost: () => void): () => void {
    this.#whenLost.add(lost);
    return () => this.#whenLost.delete(lost);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#primary.close(), this.#replica.close()]);
  }

  async #run(): Promise<void> {
    let pause = POLL_MS;
    while (!this.#closed && performance.now() - this.#wantedAt < IDLE_MS) {
      await this.#ask();
      pause = this.#state.problem === "down" ? Math.min(2 * pause, MAX_PAUSE_MS) : POLL_MS;
      await sleep(pause, undefined, { ref: false });
    }
    this.#running = false;
    this.#freshUntil = -Infinity; // whatever becomes of the replica from now on, nobody looks
  }

  /** Callers at the same time share one question. */
  #ask(): Promise<void> {
    this.#asking ??= this.#askBoth().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async #askBoth(): Promise<void> {
    const askedAt = performance.now();
    const primary = await this.#primary.ask<PositionRow>(PRIMARY_POSITION).catch(() => undefined);
    if (primary !== undefined) this.#mark(positionOf(primary), askedAt);
    const begun = performance.now();
    const row = await this.#replica
      .ask<PositionRow & { standby: boolean }>(REPLICA_POSITION)
      .catch(() => undefined);
    if (row === undefined) return this.#lost("down", null);
    const latencyMs = Math.round((performance.now() - begun) * 100) / 100;
    if (!row.standby) return this.#lost("not_a_standby", latencyMs);
    this.#reached(positionOf(row), latencyMs);
  }

  #mark(position: Position, at: number): void {
    const before = this.#primaryAt;
    if (before?.timeline !== position.timeline || before.cluster !== position.cluster) {
      this.#marks = [];
      this.#freshUntil = -Infinity;
    }
    this.#primaryAt = position;
    if (this.#marks.at(-1)?.lsn === position.lsn) this.#marks.pop();
    else if (this.#marks.length >= MAX_MARKS) this.#marks = this.#marks.filter((_, index) => index % 2 === 1);
    this.#marks.push({ at, lsn: position.lsn });
  }

  #reached({ lsn, timeline, cluster }: Position, latencyMs: number): void {
    const primary = this.#primaryAt;
    if (primary !== undefined && (timeline !== primary.timeline || cluster !== primary.cluster))
      return this.#lost("other_history", latencyMs);
    const ahead = this.#marks.findIndex((mark) => mark.lsn > lsn);
    const passed = this.#marks.splice(0, ahead < 0 ? this.#marks.length : ahead);
    this.#freshUntil = passed.at(-1)?.at ?? this.#freshUntil;
    const age = this.#marks.length === 0 ? 0 : performance.now() - this.#freshUntil;
    this.#state = {
      problem: null,
      latencyMs,
      lagMs: primary === undefined || age === Infinity ? null : Math.round(age),
      lagBytes: primary === undefined ? null : Math.max(0, primary.lsn - lsn),
    };
  }

  #lost(problem: ReplicaProblem, latencyMs: number | null): void {
    this.#state = { problem, latencyMs, lagMs: null, lagBytes: null };
    this.#freshUntil = -Infinity; // another server may come back in its place
    const waiting = [...this.#whenLost];
    this.#whenLost.clear();
    for (const lost of waiting) lost();
  }
}

/** One connection for small questions. It is opened by the first; after a failure the next opens another. */
class Line {
  readonly #url: string;
  #client: pg.Client | undefined;
  #closed = false;

  constructor(url: string) {
    this.#url = url;
  }

  async ask<Row extends pg.QueryResultRow>(statement: string): Promise<Row | undefined> {
    if (this.#closed) throw new Error("The connection was closed");
    const client = this.#client ?? (await this.#open());
    try {
      const { rows } = await client.query<Row>(statement);
      return rows[0];
    } catch (error) {
      await this.#drop(client);
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#client !== undefined) await this.#drop(this.#client);
  }

  async #open(): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.#url,
      application_name: "playlog-replica-watch",
      connectionTimeoutMillis: PATIENCE_MS,
      query_timeout: PATIENCE_MS,
      keepAlive: true,
    });
    client.on("error", () => void this.#drop(client)); // a question under way rejects with it
    await client.connect();
    if (this.#closed) await client.end();
    else this.#client = client;
    return client;
  }

  async #drop(client: pg.Client): Promise<void> {
    if (this.#client === client) this.#client = undefined;
    await client.end().catch(() => undefined);
  }
}
