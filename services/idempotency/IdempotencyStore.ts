/**
 * Answers by Idempotency-Key: a request that is sent again gets the answer of the first, and its effect happens
 * once. Keys belong to a user and are kept for 24 hours.
 *
 * A key is taken in two steps. While a body is still arriving it is not known what the request is, so the key is
 * held in memory only and a process that dies leaves nothing behind. Once the request is known, the key is
 * claimed in the database, where it holds across processes.
 */
import type pg from "pg";
import { sqlState } from "../../db/errors.js";
import {
  ConflictError,
  IdempotencyMismatchError,
  UnauthorizedError,
  ValidationError,
} from "../../utils/errors.js";

export interface StoredAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** As JSON. */
  readonly body: unknown;
}

export interface Outcome {
  readonly answer: StoredAnswer;
  /** The answer is that of an earlier request. */
  readonly replayed: boolean;
}

/** 409: the first request with this key has not been answered yet. */
export class RequestInProgressError extends ConflictError {
  readonly retryAfterSeconds = 1;
  constructor() {
    super("idempotency_in_progress", "A request with this Idempotency-Key is still being answered");
  }
}

const KEY = /^[\x21-\x7e]{1,255}$/;
const KEEP = "24 hours";
/** A claim without an answer for this long belongs to a process that died; claims take well under a second. */
const ABANDONED = "60 seconds";
const EXPIRED_PER_CLAIM = 100;
const FOREIGN_KEY_VIOLATION = "23503";

/** The value of the header, or undefined when there is none. Throws `ValidationError` when it is malformed. */
export function parseIdempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined || KEY.test(header)) return header;
  const message = "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces";
  throw new ValidationError(message, [{ path: "Idempotency-Key", code: "bad_idempotency_key", message }]);
}

interface ClaimedRow {
  readonly same: boolean;
  readonly response_status: number | null;
  readonly response_headers: Record<string, string> | null;
  readonly response_body: unknown;
}

export class IdempotencyStore {
  readonly #pool: pg.Pool;
  readonly #held = new Set<string>();

  constructor({ pool }: { readonly pool: pg.Pool }) {
    this.#pool = pool;
  }

  /**
   * Keeps other requests of this process with the same key away while `work` runs. Throws
   * `RequestInProgressError` when one is there already.
   */
  async hold<T>(userId: string, key: string, work: () => Promise<T>): Promise<T> {
    const name = `${userId} ${key}`;
    if (this.#held.has(name)) throw new RequestInProgressError();
    this.#held.add(name);
    try {
      return await work();
    } finally {
      this.#held.delete(name);
    }
  }

  /**
   * Runs `work` once for this key and keeps its answer; the next time gives the answer without running it. A
   * `work` that throws leaves the key free. `requestHash` says what was asked: another one under the same key
   * is an `IdempotencyMismatchError`. Throws `RequestInProgressError`, and `UnauthorizedError` when the account
   * is gone.
   */
  async once(
    userId: string,
    key: string,
    requestHash: Buffer,
    work: () => Promise<StoredAnswer>,
  ): Promise<Outcome> {
    const earlier = await this.#claim(userId, key, requestHash);
    if (earlier !== null) return { answer: earlier, replayed: true };
    let answer: StoredAnswer;
    try {
      answer = await work();
    } catch (error) {
      await this.#release(userId, key, requestHash);
      throw error;
    }
    await this.#pool.query(
      `update idempotency_keys set response_status = $4, response_headers = $5, response_body = $6
        where user_id = $1 and key = $2 and request_hash = $3`,
      [userId, key, requestHash, answer.status, answer.headers, JSON.stringify(answer.body)],
    );
    return { answer, replayed: false };
  }

  /** null: the key is ours now. */
  async #claim(userId: string, key: string, requestHash: Buffer): Promise<StoredAnswer | null> {
    await this.#forgetExpired();
    if (await this.#insert(userId, key, requestHash)) return null;
    const { rows } = await this.#pool.query<ClaimedRow>(
      `select request_hash = $3 as same, response_status, response_headers, response_body
         from idempotency_keys where user_id = $1 and key = $2`,
      [userId, key, requestHash],
    );
    const [row] = rows;
    if (row === undefined) throw new RequestInProgressError(); // it has just failed and left: the key is free
    if (!row.same) throw new IdempotencyMismatchError();
    if (row.response_status === null) throw new RequestInProgressError();
    return { status: row.response_status, headers: row.response_headers ?? {}, body: row.response_body };
  }

  async #insert(userId: string, key: string, requestHash: Buffer): Promise<boolean> {
    try {
      const { rowCount } = await this.#pool.query(
        `insert into idempotency_keys as k (user_id, key, request_hash) values ($1, $2, $3)
         on conflict (user_id, key) do update
           set request_hash = excluded.request_hash, created_at = now(),
               response_status = null, response_headers = null, response_body = null
           where k.created_at < now() - $4::interval
              or (k.response_status is null and k.created_at < now() - $5::interval)`,
        [userId, key, requestHash, KEEP, ABANDONED],
      );
      return rowCount === 1;
    } catch (error) {
      if (sqlState(error) === FOREIGN_KEY_VIOLATION) throw new UnauthorizedError();
      throw error;
    }
  }

  /** Only while it is unanswered: another process may have taken an abandoned claim over. */
  async #release(userId: string, key: string, requestHash: Buffer): Promise<void> {
    await this.#pool
      .query(
        `delete from idempotency_keys
          where user_id = $1 and key = $2 and request_hash = $3 and response_status is null`,
        [userId, key, requestHash],
      )
      .catch(() => undefined); // the claim runs out by itself, and the error of the request matters more
  }

  async #forgetExpired(): Promise<void> {
    await this.#pool.query(
      `delete from idempotency_keys where ctid = any (array(
         select ctid from idempotency_keys where created_at < now() - $1::interval limit $2
         for update skip locked))`,
      [KEEP, EXPIRED_PER_CLAIM],
    );
  }
}
