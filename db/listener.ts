/**
 * One connection that listens to what others commit, and knows whether it still hears. LISTEN alone cannot be relied
 * on: a dead connection looks open, and a pooler may swallow it. So each second this one notifies itself; what it
 * has heard up to its last proven beat is complete, because PostgreSQL delivers in the order of commits.
 */
import { randomBytes } from "node:crypto";
import pg from "pg";
import type { Logger } from "../utils/logger.js";

const BEAT_MS = 1000;
/** A beat that was sent longer ago than this proves nothing: somebody may have committed since. */
const SILENCE_MS = 3000;
const MAX_RECONNECT_MS = 2000;

export interface Subscription {
  /** Called for each notification, in the order of commits. Must not throw. */
  received(payload: string): void;
  /** Called on each new connection once it listens and before it is trusted, to read what was missed. */
  listening?(client: pg.Client): Promise<void>;
  /** Called when the connection is given up. */
  lost?(): void;
}

export interface DatabaseListenerOptions {
  readonly databaseUrl: string;
  readonly log: Logger;
}

/**
 * Sends beats over one connection, one statement at a time. Those that come while one is on its way go out as the last of
 * them, whose return proves them all.
 */
class BeatSender {
  #wanted = 0;
  #sent = 0;
  #sending: Promise<void> | undefined;

  constructor(
    private readonly client: pg.Client,
    private readonly channel: string,
  ) {}

  /** Resolves when this beat, or a later one, is sent. */
  send(beat: number): Promise<void> {
    this.#wanted = beat;
    return (this.#sending ??= this.#sendWanted());
  }

  async #sendWanted(): Promise<void> {
    try {
      while (this.#sent < this.#wanted) {
        const beat = this.#wanted;
        await this.client.query("select pg_notify($1, $2)", [this.channel, String(beat)]);
        this.#sent = beat;
      }
    } finally {
      this.#sending = undefined;
    }
  }
}

interface Waiter {
  readonly beat: number;
  readonly resolve: (heard: boolean) => void;
}

export class DatabaseListener {
  readonly #options: DatabaseListenerOptions;
  readonly #beatChannel = `playlog_beat_${randomBytes(8).toString("hex")}`;
  readonly #subscriptions = new Map<string, Subscription[]>();
  /** Number of a beat → when it was sent, on the monotonic clock. */
  readonly #sent = new Map<number, number>();
  readonly #waiting = new Set<Waiter>();
  #client: pg.Client | undefined;
  /** Of that connection, once it listens. */
  #sender: BeatSender | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastBeat = 0;
  #provenBeat = 0;
  #provenAt = -Infinity;
  /** Nothing is believed before this beat has come back. */
  #doubtedUntil = 0;
  #attempt = 0;
  #closed = false;

  constructor(options: DatabaseListenerOptions) {
    this.#options = options;
  }

  /** Before `start`. Those of one channel are told in the order in which they came. */
  subscribe(channel: string, subscription: Subscription): void {
    this.#subscriptions.set(channel, [...(this.#subscriptions.get(channel) ?? []), subscription]);
  }

  /** Resolves when the first attempt to connect is over; goes on trying until `close`. */
  async start(): Promise<void> {
    await this.#connect();
  }

  /** Whether everything committed until at most three seconds ago has been heard; usually that means: until now. */
  get trusted(): boolean {
    return this.#provenBeat >= this.#doubtedUntil && performance.now() - this.#provenAt < SILENCE_MS;
  }

  /**
   * Waits until everything committed before this call has been heard. False when that takes longer than `patienceMs`
   * or the listener is not trusted anyway; it is then not trusted (again) before it has caught up.
   */
  async caughtUp(patienceMs: number): Promise<boolean> {
    const [client, sender] = [this.#client, this.#sender];
    if (client === undefined || sender === undefined) return false; // its first beat is yet to come
    const beat = this.#nextBeat();
    const send = (): void => void sender.send(beat).catch(() => this.#lost(client));
    if (!this.trusted) {
      this.#doubtedUntil = beat;
      send();
      return false;
    }
    let timer: NodeJS.Timeout | undefined;
    const heard = await new Promise<boolean>((resolve) => {
      const waiter = { beat, resolve };
      this.#waiting.add(waiter);
      timer = setTimeout(() => {
        this.#waiting.delete(waiter);
        resolve(false);
      }, patienceMs);
      send();
    });
    clearTimeout(timer);
    if (!heard) this.#doubtedUntil = Math.max(this.#doubtedUntil, beat);
    return heard;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#drop();
  }

  async #connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#options.databaseUrl,
      application_name: "playlog-listener",
      connectionTimeoutMillis: 1500,
      query_timeout: SILENCE_MS,
      keepAlive: true,
    });
    this.#client = client;
    client.on("error", () => this.#lost(client));
    client.on("end", () => this.#lost(client));
    client.on("notification", ({ channel, payload = "" }) => {
      if (this.#client !== client) return;
      if (channel === this.#beatChannel) this.#proven(Number(payload));
      else for (const subscription of this.#subscriptions.get(channel) ?? []) subscription.received(payload);
    });
    try {
      await client.connect();
      // Beats need not survive a crash, and must not cost a flush each second.
      await client.query("set synchronous_commit = off");
      for (const channel of this.#subscriptions.keys()) await client.query(`listen ${channel}`);
      for (const subscription of this.#everySubscription()) await subscription.listening?.(client);
      await client.query(`listen ${this.#beatChannel}`);
      if (this.#client !== client) return; // it was lost meanwhile
      const sender = new BeatSender(client, this.#beatChannel);
      this.#sender = sender;
      await this.#beat(client, sender);
      this.#attempt = 0;
    } catch {
      this.#lost(client);
    }
  }

  async #beat(client: pg.Client, sender: BeatSender): Promise<void> {
    await sender.send(this.#nextBeat());
    if (this.#closed || this.#client !== client) return;
    this.#timer = setTimeout(() => {
      this.#beat(client, sender).catch(() => this.#lost(client));
    }, BEAT_MS);
  }

  #nextBeat(): number {
    this.#lastBeat += 1;
    this.#sent.set(this.#lastBeat, performance.now());
    return this.#lastBeat;
  }

  #proven(beat: number): void {
    const sentAt = this.#sent.get(beat);
    if (sentAt === undefined) return;
    this.#provenBeat = beat;
    this.#provenAt = sentAt;
    for (const earlier of this.#sent.keys()) if (earlier <= beat) this.#sent.delete(earlier);
    for (const waiter of this.#waiting) {
      if (waiter.beat > beat) continue;
      this.#waiting.delete(waiter);
      waiter.resolve(true);
    }
  }

  #everySubscription(): readonly Subscription[] {
    return [...this.#subscriptions.values()].flat();
  }

  #lost(client: pg.Client): void {
    if (this.#client !== client) return;
    void this.#drop();
    if (this.#closed) return;
    if (this.#attempt === 0) {
      this.#options.log.warn("lost the connection that listens for changes; asking the database instead");
    }
    const delay = Math.min(100 * 2 ** this.#attempt, MAX_RECONNECT_MS);
    this.#attempt += 1;
    this.#timer = setTimeout(() => void this.#connect(), delay);
  }

  async #drop(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    this.#sender = undefined;
    this.#provenAt = -Infinity;
    this.#sent.clear();
    clearTimeout(this.#timer);
    for (const waiter of this.#waiting) waiter.resolve(false);
    this.#waiting.clear();
    for (const subscription of this.#everySubscription()) subscription.lost?.();
    await client?.end().catch(() => undefined);
  }
}
