/**
 * Which sessions have lately been revoked, by whatever process, held in memory. A copy of a session may be believed
 * only while this watch is trusted: a revocation that could not reach Redis reaches every process
 * through PostgreSQL, in the transaction that revokes. While the watch is not trusted PostgreSQL is asked.
 */
import type pg from "pg";
import type { DatabaseListener } from "../../db/listener.js";

/** A trigger of sessions notifies it. */
const REVOCATION_CHANNEL = "playlog_session_revoked";

/** A revocation is remembered longer than any copy of its session can live. */
export const REMEMBER_MS = 9 * 3_600_000;
const FORGET_EVERY_MS = 1000;

export class RevocationWatch {
  readonly #listener: DatabaseListener;
  /** Session id → when it may be forgotten, on the monotonic clock; in that order. */
  readonly #revoked = new Map<string, number>();
  #forgetAt = 0;

  constructor(listener: DatabaseListener) {
    this.#listener = listener;
    listener.subscribe(REVOCATION_CHANNEL, {
      received: (sessionId) => this.remember(sessionId),
      listening: (client) => this.#catchUp(client),
      // `lost` forgets nothing: what is known to be revoked stays so.
    });
  }

  /** Whether every revocation up to now, give or take its delivery, is known here. */
  get trusted(): boolean {
    return this.#listener.trusted;
  }

  isRevoked(sessionId: string): boolean {
    return this.#revoked.has(sessionId);
  }

  /** For the process that revokes: it does not wait for its own notification. */
  remember(sessionId: string): void {
    const now = performance.now();
    this.#revoked.delete(sessionId);
    this.#revoked.set(sessionId, now + REMEMBER_MS);
    if (now < this.#forgetAt) return;
    this.#forgetAt = now + FORGET_EVERY_MS;
    for (const [id, until] of this.#revoked) {
      if (until > now) break;
      this.#revoked.delete(id);
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
}
