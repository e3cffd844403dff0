/** A listener of the benchmark of the cache. */
import type pg from "pg";
import { announceChange, historyOf } from "../../db/queries/cacheVersions.js";
import { insertLongHistory } from "../../test/support/plays.js";
import type { Reading } from "./readMix.js";

export const PLAYS_EACH = 2000;
const HISTORY = "/api/v1/listening-history";

interface Page {
  readonly data: readonly { readonly id: number }[];
  readonly nextCursor: string | null;
}

/** A listener with a history, who reads it and writes to it. */
export class Reader {
  private readonly tags = new Map<string, string>();
  private page: Page = { data: [], nextCursor: null };

  private constructor(
    private readonly base: string,
    private readonly pool: pg.Pool,
    private readonly token: string,
    readonly id: string,
    private readonly artists: readonly number[],
  ) {}

  static async register(base: string, pool: pg.Pool, n: number): Promise<Reader> {
    const name = `reader_${process.hrtime.bigint()}`;
    const response = await fetch(`${base}/api/v1/auth/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        email: `${name}@example.org`,
        username: name,
        password: "plum tractor window ninety",
      }),
    });
    const { user, accessToken } = (await response.json()) as { user: { id: string }; accessToken: string };
    // Every other one lets others read.
    if (n % 2 === 0) {
      await pool.query(
        "update users set profile_visibility = 'public', history_visibility = 'public' where id = $1",
        [user.id],
      );
    }
    await insertLongHistory(pool, user.id, PLAYS_EACH, { start: "2024-01-01T00:00:00Z" });
    await announceChange(pool, historyOf(user.id));
    const { rows } = await pool.query<{ artist_id: number }>(
      "select artist_id from listening_history where user_id = $1 group by artist_id order by count(*) desc limit 5",
      [user.id],
    );
    return new Reader(
      base,
      pool,
      accessToken,
      user.id,
      rows.map((row) => row.artist_id),
    );
  }

  addresses(kind: Reading, pick: number, readers: readonly Reader[]): readonly string[] {
    const friend = readers[2 * (pick % Math.ceil(readers.length / 2))]!.id;
    const month = new Date(Date.UTC(2024, 0, 1 + (pick % 3)));
    switch (kind) {
      case "me":
        return ["/api/v1/users/me"];
      case "first":
      case "refresh":
        return [HISTORY];
      case "widget":
        return [`${HISTORY}?limit=10`];
      case "artist":
        return [`${HISTORY}?artistId=${this.artists[pick % this.artists.length] ?? 1}`];
      case "month":
        return [`${HISTORY}?from=${month.toISOString()}&until=2024-02-01T00:00:00Z`];
      case "show":
        return [`${HISTORY}/${this.page.data[pick % 10]?.id ?? 1}`];
      case "next":
        return [`${HISTORY}?cursor=${this.page.nextCursor ?? ""}`];
      case "friend":
        return [`/api/v1/users/${friend}`, `${HISTORY}?userId=${friend}`];
      case "imports":
        return ["/api/v1/imports"];
    }
  }

  async get(address: string, conditional: boolean): Promise<{ status: number; ms: number }> {
    const tag = this.tags.get(address);
    const begun = performance.now();
    const response = await fetch(this.base + address, {
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(conditional && tag !== undefined ? { "if-none-match": tag } : {}),
      },
    });
    const text = await response.text();
    const ms = performance.now() - begun;
    if (response.status !== 200 && response.status !== 304)
      throw new Error(`GET ${address} answered ${response.status}: ${text}`);
    this.tags.set(address, response.headers.get("etag") ?? "");
    if (address === HISTORY && response.status === 200) this.page = JSON.parse(text) as Page;
    return { status: response.status, ms };
  }

  /** As an import or a scrobble would: in one transaction with its announcement. */
  async addPlay(pick: number): Promise<void> {
    const client = await this.pool.connect();
    try {
      await client.query("begin");
      await client.query(
        `insert into listening_history (user_id, track_id, artist_id, played_at, start_earliest, start_latest, ms_played,
           precision, source, counted, source_key)
         select user_id, track_id, artist_id, at, at, at, 180000, 'second', 'spotify-extended', true,
                substr(sha256(at::text::bytea), 1, 16)
           from (select user_id, track_id, artist_id, clock_timestamp() as at from listening_history
                  where user_id = $1 order by played_at offset $2 limit 1) play`,
        [this.id, pick % PLAYS_EACH],
      );
      await announceChange(client, historyOf(this.id));
      await client.query("commit");
    } finally {
      client.release();
    }
  }

  async changeProfile(pick: number): Promise<void> {
    await this.pool.query("update users set bio = $2 where id = $1", [this.id, `Bio ${pick}`]);
  }
}
