/**
 * Records plays that somebody tells us of: one, or up to a thousand in one transaction of a handful of statements.
 * What makes two of them the same play is in docs/adr/0014.
 */
import type pg from "pg";
import { announceChange, historyOf } from "../../db/queries/cacheVersions.js";
import type { ErrorDetail } from "../../utils/errors.js";
import { type Arrival, looseKeysOf, noteDeleted, sightingsOfDeleted } from "./linking/deleted.js";
import { relinkPlays } from "./linking/relink.js";
import { countsAsListen } from "./listenRule.js";
import { type ManualPlay, playedTime, startRange } from "./manualPlays.js";
import type { Place, Places } from "./places.js";
import { manualKey } from "./sourceKey.js";
import { withPlaysOf } from "./userPlays.js";

export type Recorded =
  | { readonly status: "created"; readonly id: number }
  /** `id`: the play that is there; null: its owner deleted it, and it stays deleted. */
  | { readonly status: "duplicate"; readonly id: number | null }
  | { readonly status: "rejected"; readonly errors: readonly ErrorDetail[] };

export interface RecordOptions {
  /** A play that its owner deleted is recorded again: who tells of one single play means it. */
  readonly despiteDeletion: boolean;
}

/** Verdicts in order of `plays`. Throws what a transaction of the user's plays throws. */
export async function recordPlays(
  { pool, places }: { readonly pool: pg.Pool; readonly places: Places },
  userId: string,
  plays: readonly ManualPlay[],
  options: RecordOptions,
): Promise<Recorded[]> {
  return places.with(plays, async (placed) => {
    const rows = new Map<string, Row>();
    const rowOf = plays.map((play, index): Row | ErrorDetail => {
      const found = placed[index]!;
      if ("problem" in found) return found.problem;
      const { place } = found;
      const key = manualKey({ ...place, playedAtMs: play.playedAt.getTime() });
      const name = key.toString("hex");
      let row = rows.get(name);
      if (row === undefined) rows.set(name, (row = { key, name, play, place, created: false, id: null }));
      return row;
    });
    // In the order of the unique index, so that two who send the same plays cannot wait for each other in a ring.
    const sorted = [...rows.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    if (sorted.length > 0) await write(pool, userId, sorted, options);
    return rowOf.map((row, index): Recorded => {
      if ("code" in row) return { status: "rejected", errors: [row] };
      if (row.created && row.id !== null && row.play === plays[index])
        return { status: "created", id: row.id };
      return { status: "duplicate", id: row.id };
    });
  });
}

/** One distinct play of the input, and what became of it. */
interface Row {
  readonly key: Buffer;
  /** The key in hex. */
  readonly name: string;
  /** The first that has this key. */
  readonly play: ManualPlay;
  readonly place: Place;
  created: boolean;
  /** Null until it is known; null for ever when its owner deleted the play. */
  id: number | null;
}

async function write(
  pool: pg.Pool,
  userId: string,
  rows: readonly Row[],
  { despiteDeletion }: RecordOptions,
): Promise<void> {
  await withPlaysOf(pool, userId, "shared", async (client) => {
    for (const row of rows) Object.assign(row, { created: false, id: null }); // also when it runs again
    const missing = await find(client, userId, rows);
    const asTold = missing.filter(({ deleted }) => despiteDeletion || !deleted).map(({ row }) => row);
    const wanted = despiteDeletion ? asTold : await withoutDeleted(client, userId, asTold);
    if (wanted.length === 0) return;
    if (missing.some(({ deleted }) => deleted) && despiteDeletion)
      await forgetDeletion(client, userId, wanted);
    const made = await insert(client, userId, wanted);
    const lost = wanted.filter((row) => !settle(row, made));
    if (lost.length > 0) await find(client, userId, lost); // somebody sent the same at the same moment
    if (made.size === 0) return;
    await relinkPlays(client, userId, [...made.values()]);
    await announceChange(client, historyOf(userId));
  });
}

function settle(row: Row, made: ReadonlyMap<string, number>): boolean {
  const id = made.get(row.name);
  if (id === undefined) return false;
  row.id = id;
  row.created = true;
  return true;
}

/**
 * A play is there when its key is, or one that was told by hand of the same track at the same instant: the names in a
 * key are those that the track had then. The user comes from a sub-select for the reason that imports have
 * (services/import/writing/plays.ts).
 */
const FIND = `
  select coalesce(k.id, s.id) as id, d.deleted is not null as deleted
    from unnest($2::bytea[], $3::bigint[], $4::timestamptz[]) with ordinality as w (source_key, track_id, played_at, n)
    left join lateral (
      select id from listening_history
       where user_id = (select $1::uuid) and source_key = w.source_key limit 1
    ) k on true
    left join lateral (
      select id from listening_history
       where track_id = w.track_id and user_id = (select $1::uuid) and played_at = w.played_at
         and source = 'manual' limit 1
    ) s on true
    left join lateral (
      select true as deleted from deleted_plays
       where user_id = (select $1::uuid) and source_key = w.source_key limit 1
    ) d on true
   order by w.n`;

/** Gives the rows that are there their ids; returns the others. */
async function find(
  client: pg.PoolClient,
  userId: string,
  rows: readonly Row[],
): Promise<{ readonly row: Row; readonly deleted: boolean }[]> {
  const found = await client.query<{ id: number | null; deleted: boolean }>(FIND, [
    userId,
    rows.map(({ key }) => key),
    rows.map(({ place }) => place.trackId),
    rows.map(({ play }) => play.playedAt.toISOString()),
  ]);
  return rows.flatMap((row, index) => {
    const { id, deleted } = found.rows[index]!;
    row.id = id;
    return id === null ? [{ row, deleted }] : [];
  });
}

/** Without those that were deleted as another source had them; these are known by their own keys from now on. */
async function withoutDeleted(
  client: pg.PoolClient,
  userId: string,
  rows: readonly Row[],
): Promise<readonly Row[]> {
  const looseKeys = await looseKeysOf(
    client,
    userId,
    rows.map(({ place }) => place.trackId),
  );
  if (looseKeys.size === 0) return rows;
  const arrivals = rows.flatMap((row): (Arrival & { readonly row: Row })[] => {
    const looseKey = looseKeys.get(row.place.trackId);
    if (looseKey === undefined) return [];
    const { startEarliest, startLatest } = startRange(row.play.playedAt);
    return [
      {
        source: "manual",
        key: row.name,
        playedAt: row.play.playedAt.getTime(),
        startEarliest: startEarliest.getTime(),
        startLatest: startLatest.getTime(),
        endedAt: null,
        looseKey,
        row,
      },
    ];
  });
  const deleted = await sightingsOfDeleted(client, userId, arrivals);
  await noteDeleted(client, userId, deleted);
  const gone = new Set([...deleted].map(({ row }) => row));
  return rows.filter((row) => !gone.has(row));
}

async function forgetDeletion(client: pg.PoolClient, userId: string, rows: readonly Row[]): Promise<void> {
  await client.query(
    `delete from deleted_plays d
      using (select source_key from deleted_plays
              where user_id = $1 and source_key = any($2::bytea[]) order by source_key for update) w
      where d.user_id = $1 and d.source_key = w.source_key`,
    [userId, rows.map(({ key }) => key)],
  );
}

async function insert(
  client: pg.PoolClient,
  userId: string,
  rows: readonly Row[],
): Promise<ReadonlyMap<string, number>> {
  const ranges = rows.map(({ play }) => startRange(play.playedAt));
  const lengths = rows.map(({ play }) => playedTime(play));
  const inserted = await client.query<{ id: number; key: string }>(
    `insert into listening_history (user_id, source_key, track_id, artist_id, album_id, played_at, start_earliest,
       start_latest, ms_played, duration_ms, counted, precision, source)
     select $1::uuid, w.*, 'second'::time_precision, 'manual'::play_source
       from unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::timestamptz[],
                   $8::timestamptz[], $9::integer[], $10::integer[], $11::boolean[])
              as w (source_key, track_id, artist_id, album_id, played_at, start_earliest, start_latest, ms_played,
                    duration_ms, counted)
      order by w.source_key
     on conflict (user_id, source_key) do nothing
     returning id, encode(source_key, 'hex') as key`,
    [
      userId,
      rows.map(({ key }) => key),
      rows.map(({ place }) => place.trackId),
      rows.map(({ place }) => place.artistId),
      rows.map(({ place }) => place.albumId),
      rows.map(({ play }) => play.playedAt.toISOString()),
      ranges.map(({ startEarliest }) => startEarliest.toISOString()),
      ranges.map(({ startLatest }) => startLatest.toISOString()),
      lengths.map(({ msPlayed }) => msPlayed),
      lengths.map(({ durationMs }) => durationMs),
      lengths.map((length) => countsAsListen(length)),
    ],
  );
  return new Map(inserted.rows.map(({ id, key }) => [key, id]));
}
