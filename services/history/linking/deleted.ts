/**
 * Recognises plays that their owner has deleted when another source brings them: not by their key, which is another one,
 * but as it is recognised that two sightings are one play.
 */
import type { ClientBase } from "pg";
import type { PlaySource } from "../../import/types.js";
import { overridesOf, readSightings } from "./relink.js";
import { endSlackMs, playsOf, type Sighting } from "./rules.js";

/** A play that is about to be added, or one that was deleted. */
export interface Arrival extends Omit<Sighting, "id"> {
  readonly looseKey: string;
}

/** Of these loose keys those of which the user has deleted a play. */
export async function keysOfDeleted(
  client: ClientBase,
  userId: string,
  keys: readonly string[],
): Promise<Set<string>> {
  const { rows } = await client.query<{ loose_key: string }>(
    "select distinct loose_key from deleted_plays where user_id = $1 and loose_key = any ($2::text[])",
    [userId, [...keys]],
  );
  return new Set(rows.map(({ loose_key: key }) => key));
}

/** The loose keys of these tracks by their ids; of those only of which the user has deleted a play. */
export async function looseKeysOf(
  client: ClientBase,
  userId: string,
  trackIds: readonly number[],
): Promise<Map<number, string>> {
  const { rows } = await client.query<{ id: number; loose_key: string }>(
    `select t.id, t.loose_key from tracks t
      where t.id = any ($2::bigint[])
        and exists (select from deleted_plays d where d.user_id = $1 and d.loose_key = t.loose_key)`,
    [userId, [...new Set(trackIds)]],
  );
  return new Map(rows.map(({ id, loose_key: key }) => [id, key]));
}

/**
 * Those of the arrivals that are further sightings of plays which their owner deleted. One that is a sighting of a play in
 * the history too is none of them: then that play has been told of again.
 */
export async function sightingsOfDeleted<T extends Arrival>(
  client: ClientBase,
  userId: string,
  arrivals: readonly T[],
): Promise<Set<T>> {
  const found = new Set<T>();
  if (arrivals.length === 0) return found;
  const byKey = byLooseKey(arrivals);
  const deleted = await readDeleted(client, userId, [...byKey.keys()]);
  const keys = [...deleted.keys()];
  if (keys.length === 0) return found;
  const present = await readSightings(client, userId, keys);
  const overrides = await overridesOf(client, userId);
  for (const key of keys) {
    const ghosts = deleted.get(key)!.map((ghost, n): Sighting => ({ ...ghost, id: -1 - n }));
    const isGhost = new Set<Sighting>(ghosts);
    const coming = new Map<Sighting, T>();
    for (const [n, arrival] of byKey.get(key)!.entries())
      coming.set({ ...arrival, id: -1 - ghosts.length - n }, arrival);
    const all = [...ghosts, ...coming.keys(), ...(present.get(key) ?? [])];
    for (const play of playsOf(all, overrides)) {
      if (!play.some((each) => isGhost.has(each))) continue;
      if (!play.every((each) => isGhost.has(each) || coming.has(each))) continue;
      for (const each of play) if (coming.has(each)) found.add(coming.get(each)!);
    }
  }
  return found;
}

/** Notes that these are deleted as well: each is recognised by its own key from now on, and stands for itself alone. */
export async function noteDeleted(
  client: ClientBase,
  userId: string,
  arrivals: Iterable<Arrival>,
): Promise<void> {
  const all = [...arrivals].sort((a, b) => (a.key < b.key ? -1 : 1));
  if (all.length === 0) return;
  const time = (ms: number): string => new Date(ms).toISOString();
  const endAt = ({ endedAt, source }: Arrival, side: -1 | 1): string | null =>
    endedAt === null ? null : time(endedAt + side * endSlackMs(source));
  await client.query(
    `insert into deleted_plays (user_id, source_key, source, loose_key, start_earliest, start_latest, end_earliest, end_latest)
     select $1::uuid, decode(w.key, 'hex'), w.source, w.loose_key, w.start_earliest, w.start_latest, w.end_earliest, w.end_latest
       from unnest($2::text[], $3::play_source[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
                   $8::timestamptz[])
              as w (key, source, loose_key, start_earliest, start_latest, end_earliest, end_latest)
     on conflict (user_id, source_key) do nothing`,
    [
      userId,
      all.map(({ key }) => key),
      all.map(({ source }) => source),
      all.map(({ looseKey }) => looseKey),
      all.map(({ startEarliest }) => time(startEarliest)),
      all.map(({ startLatest }) => time(startLatest)),
      all.map((each) => endAt(each, -1)),
      all.map((each) => endAt(each, 1)),
    ],
  );
}

/** By loose key. Where in the range of the start the play began is not known any more: in its middle. */
async function readDeleted(
  client: ClientBase,
  userId: string,
  keys: readonly string[],
): Promise<Map<string, Arrival[]>> {
  const { rows } = await client.query<{
    loose_key: string;
    source: PlaySource;
    key: string;
    start_earliest: number;
    start_latest: number;
    ended_at: number | null;
  }>(
    `select loose_key, source::text, encode(source_key, 'hex') as key,
            date_part('epoch', start_earliest) * 1000 as start_earliest,
            date_part('epoch', start_latest) * 1000 as start_latest,
            (date_part('epoch', end_earliest) + date_part('epoch', end_latest)) * 500 as ended_at
       from deleted_plays where user_id = $1 and loose_key = any ($2::text[])`,
    [userId, [...keys]],
  );
  const deleted = rows.map((row) => ({
    looseKey: row.loose_key,
    source: row.source,
    key: row.key,
    playedAt: (row.start_earliest + row.start_latest) / 2,
    startEarliest: row.start_earliest,
    startLatest: row.start_latest,
    endedAt: row.ended_at,
  }));
  return byLooseKey(deleted);
}

function byLooseKey<T extends Arrival>(arrivals: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const arrival of arrivals) {
    const group = groups.get(arrival.looseKey);
    if (group === undefined) groups.set(arrival.looseKey, [arrival]);
    else group.push(arrival);
  }
  return groups;
}
