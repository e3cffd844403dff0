/**
 * Brings the links of a history up to date with its plays: reads all sightings of the loose keys it is given, links them
 * by the rules, and writes what differs. May be run any number of times. See docs/adr/0022.
 */
import type { ClientBase } from "pg";
import { announceChange, historyOf } from "../../../db/queries/cacheVersions.js";
import type { PlaySource } from "../../import/types.js";
import { linkSightings, overrideOf, type Sighting } from "./rules.js";

/** In one transaction: about a tenth of a second's work, during which other changes of the same history by hand wait. */
export const KEYS_AT_ONCE = 200;
/** Sightings that are in memory at once; a key more or less. */
const ROWS_AT_ONCE = 20_000;
/**
 * More sightings than these of one key are no listener's (months of one track without a break), and are not linked:
 * comparing them all would keep everybody else's work waiting.
 */
export const MOST_SIGHTINGS = 10_000;

/**
 * Look-ups by index whatever the planner believes of a user that its statistics do not know (see
 * services/import/writing/plays.ts). Keys are parameter 2.
 */
const SIGHTINGS = (columns: string): string => `
  select k.ord, h.*
    from unnest($2::text[]) with ordinality as k (loose_key, ord)
    cross join lateral (select id from tracks where loose_key = k.loose_key offset 0) t
    cross join lateral (
      select ${columns} from listening_history
       where track_id = t.id and user_id = (select $1::uuid) offset 0
    ) h`;

/** Where there is anything to link, or links. */
const FIND_SEVERAL = `
  select ord, count(*)::bigint as count
    from (${SIGHTINGS("source, duplicate_of")}) s
   group by ord
  having min(source) <> max(source) or bool_or(duplicate_of is not null)
   order by ord`;

const MILLISECONDS = (column: string): string => `date_part('epoch', ${column}) * 1000`;

const READ_SIGHTINGS = `
  select ord, id, source::text, encode(source_key, 'hex'), ${MILLISECONDS("played_at")},
         ${MILLISECONDS("start_earliest")}, ${MILLISECONDS("start_latest")}, ${MILLISECONDS("ended_at")}, duplicate_of
    from (${SIGHTINGS("id, source, source_key, played_at, start_earliest, start_latest, ended_at, duplicate_of")}) s
   order by ord`;

type SightingRow = [
  ord: number,
  id: number,
  source: PlaySource,
  key: string,
  playedAt: number,
  startEarliest: number,
  startLatest: number,
  endedAt: number | null,
  duplicateOf: number | null,
];

interface StoredSighting extends Sighting {
  readonly duplicateOf: number | null;
}

/** What is to be written: a play and its leader, null for a play of its own. */
type Change = readonly [id: number, leader: number | null];

/**
 * Links the user's plays of these loose keys anew and announces it when anything differs; how many plays did. The caller
 * holds the lock on the user's plays alone, or shared and the one on the user's links (services/history/userPlays.ts).
 */
export async function relinkKeys(
  client: ClientBase,
  userId: string,
  keys: readonly string[],
): Promise<number> {
  if (keys.length === 0) return 0;
  const several = await client.query<{ ord: number; count: number }>(FIND_SEVERAL, [userId, [...keys]]);
  if (several.rows.length === 0) return 0;
  const overrides = await overridesOf(client, userId);
  let changed = 0;
  let batch: string[] = [];
  let rows = 0;
  const flush = async (): Promise<void> => {
    if (batch.length > 0) changed += await relinkBatch(client, userId, batch, overrides);
    [batch, rows] = [[], 0];
  };
  for (const { ord, count } of several.rows) {
    const key = keys[ord - 1]!;
    if (count > MOST_SIGHTINGS) {
      changed += await unlinkAll(client, userId, key);
      continue;
    }
    if (rows + count > ROWS_AT_ONCE) await flush();
    batch.push(key);
    rows += count;
  }
  await flush();
  if (changed > 0) await announceChange(client, historyOf(userId));
  return changed;
}

/** The same for the keys that the tracks of these plays have now. */
export async function relinkPlays(
  client: ClientBase,
  userId: string,
  ids: readonly number[],
): Promise<number> {
  return relinkKeys(client, userId, await keysOfPlays(client, ids));
}

/** The loose keys of these plays, each once. */
export async function keysOfPlays(client: ClientBase, ids: readonly number[]): Promise<string[]> {
  const { rows } = await client.query<{ loose_key: string }>(
    `select distinct t.loose_key
       from unnest($1::bigint[]) as w (id)
       cross join lateral (select track_id from listening_history where id = w.id limit 1) h
       join tracks t on t.id = h.track_id`,
    [[...ids]],
  );
  return rows.map(({ loose_key: key }) => key);
}

/** The loose keys of those of these plays that are linked with others. Without the others nothing else changes. */
export async function keysOfLinked(client: ClientBase, ids: readonly number[]): Promise<string[]> {
  const { rows } = await client.query<{ loose_key: string }>(
    `select distinct t.loose_key
       from unnest($1::bigint[]) as w (id)
       cross join lateral (select track_id, duplicate_of from listening_history where id = w.id limit 1) h
       join tracks t on t.id = h.track_id
      where h.duplicate_of is not null or exists (select from listening_history s where s.duplicate_of = w.id)`,
    [[...ids]],
  );
  return rows.map(({ loose_key: key }) => key);
}

/** Pairs of the user's sightings that are two plays, as `overrideOf` names them. */
export async function overridesOf(client: ClientBase, userId: string): Promise<Set<string>> {
  const { rows } = await client.query<{ first: string; second: string }>(
    `select encode(first_key, 'hex') as first, encode(second_key, 'hex') as second
       from play_link_overrides where user_id = $1`,
    [userId],
  );
  return new Set(rows.map(({ first, second }) => overrideOf(first, second)));
}

async function relinkBatch(
  client: ClientBase,
  userId: string,
  keys: readonly string[],
  overrides: ReadonlySet<string>,
): Promise<number> {
  const sightings = await readSightings(client, userId, keys);
  const changes = [...sightings.values()].flatMap((ofKey) => changesOf(ofKey, overrides));
  await write(client, changes);
  return changes.length;
}

function changesOf(sightings: readonly StoredSighting[], overrides: ReadonlySet<string>): Change[] {
  const leaders = linkSightings(sightings, overrides);
  return sightings.flatMap(({ id, duplicateOf }): Change[] => {
    const leader = leaders.get(id) ?? null;
    return leader === duplicateOf ? [] : [[id, leader]];
  });
}

/** By key, in the order of `keys`; those that have none are left out. */
export async function readSightings(
  client: ClientBase,
  userId: string,
  keys: readonly string[],
): Promise<Map<string, StoredSighting[]>> {
  const { rows } = await client.query<SightingRow>({
    text: READ_SIGHTINGS,
    values: [userId, [...keys]],
    rowMode: "array",
  });
  const lists = new Map<string, StoredSighting[]>();
  let list: StoredSighting[] = [];
  let last = 0;
  for (const [ord, id, source, key, playedAt, startEarliest, startLatest, endedAt, duplicateOf] of rows) {
    if (ord !== last) lists.set(keys[ord - 1]!, (list = []));
    last = ord;
    list.push({ id, source, key, playedAt, startEarliest, startLatest, endedAt, duplicateOf });
  }
  return lists;
}

/** Nothing but the link: that a play is another sighting of one is no correction of it. */
async function write(client: ClientBase, changes: readonly Change[]): Promise<void> {
  if (changes.length === 0) return;
  await client.query(
    `update listening_history h set duplicate_of = w.leader
       from unnest($1::bigint[], $2::bigint[]) as w (id, leader)
      where h.id = w.id`,
    [changes.map(([id]) => id), changes.map(([, leader]) => leader)],
  );
}

async function unlinkAll(client: ClientBase, userId: string, key: string): Promise<number> {
  const { rowCount } = await client.query(
    `update listening_history set duplicate_of = null
      where user_id = $1 and duplicate_of is not null and track_id in (select id from tracks where loose_key = $2)`,
    [userId, key],
  );
  return rowCount ?? 0;
}
