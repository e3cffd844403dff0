/** Histories of several sources, imported as the worker imports them, and what is linked in them. */
import { expect } from "chai";
import type pg from "pg";
import { createTestDatabase } from "../../../support/database.js";
import { insertUser } from "../../../support/users.js";
import { createBench, type ImportBench, type JobOptions, json } from "../../import/importing.js";

export interface LinkBench {
  readonly pool: pg.Pool;
  /** Of its database. */
  readonly url: string;
  readonly bench: ImportBench;
  /** Whose history it is; a new one after `newUser`. */
  readonly user: string;
  newUser(): Promise<void>;
  rows<T>(sql: string, ...values: unknown[]): Promise<T[]>;
  /** Uploads, imports and links; gives the id of the import. */
  imported(upload: Buffer | readonly unknown[], options?: JobOptions): Promise<string>;
  undo(importId: string): Promise<void>;
  /** What lists and statistics count: loose key, time and source of each, in order. */
  counted(): Promise<string[]>;
  /** Which sighting follows which, by source keys, in order. */
  links(): Promise<string[]>;
  /** The plays of the user with the ids of those they follow, in order of time and source. */
  plays(): Promise<StoredPlay[]>;
  countsOf(importId: string): Promise<{ inserted: number; duplicate: number; linked: number }>;
  close(): Promise<void>;
}

export interface StoredPlay {
  readonly id: number;
  readonly source: string;
  readonly follows: number | null;
}

export async function createLinkBench(): Promise<LinkBench> {
  const db = await createTestDatabase();
  const { pool } = db.database;
  const bench = await createBench(pool);
  let user = await insertUser(pool);
  const rows = async <T>(sql: string, ...values: unknown[]): Promise<T[]> =>
    (await pool.query(sql, values)).rows as T[];
  const texts = async (sql: string): Promise<string[]> =>
    (await rows<{ text: string }>(sql, user)).map(({ text }) => text);
  return {
    pool,
    url: db.url,
    bench,
    rows,
    get user() {
      return user;
    },
    async newUser() {
      user = await insertUser(pool);
    },
    async imported(upload, options = {}) {
      const id = await bench.job(user, Buffer.isBuffer(upload) ? upload : json(upload), options);
      expect(await bench.run(id)).to.match(/^completed/);
      return id;
    },
    async undo(importId) {
      await rows("update import_jobs set status = 'undoing', version = version + 1 where id = $1", importId);
      await bench.steps.undo(importId, bench.context());
    },
    counted: () =>
      texts(
        `select concat_ws(' ', t.loose_key, h.played_at at time zone 'UTC', h.source) as text
           from listening_history h join tracks t on t.id = h.track_id
          where h.user_id = $1 and h.counted and h.duplicate_of is null order by 1`,
      ),
    links: () =>
      texts(
        `select concat(encode(h.source_key, 'hex'), ' follows ', encode(l.source_key, 'hex')) as text
           from listening_history h join listening_history l on l.id = h.duplicate_of
          where h.user_id = $1 order by 1`,
      ),
    plays: () =>
      rows(
        `select id, source, duplicate_of as follows from listening_history where user_id = $1
          order by played_at, source`,
        user,
      ),
    async countsOf(importId) {
      const [found] = await rows<{ inserted: number; duplicate: number; linked: number }>(
        `select sum(inserted)::integer as inserted, sum(duplicate)::integer as duplicate, sum(linked)::integer as linked
           from import_parts where job_id = $1`,
        importId,
      );
      return found!;
    },
    async close() {
      await bench.close();
      await db.drop();
    },
  };
}
