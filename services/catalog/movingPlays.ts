/**
 * What a merge does ahead of itself where very many plays have to move: most of them go in transactions of their own,
 * each of one listener and some thousand plays. So nobody waits for more than one of those, and what is left then is a
 * merge like any other. Meanwhile plays are under either of the two, each under one. See docs/adr/0015.
 */
import type { ClientBase, Pool, PoolClient } from "pg";
import { USER_PLAYS_LOCK } from "../../db/advisoryLocks.js";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { announceChange, CATALOGUE, historyOf } from "../../db/queries/cacheVersions.js";
import { inTransactionOn } from "../../db/transaction.js";
import { looseKey } from "./keys.js";
import { lockListeners, refuseNewListeners } from "./listeners.js";
import { lockCatalogueAlone, SHARE_CATALOGUE } from "./lock.js";
import { MERGE_TIMEOUT_MS, moveTracks } from "./mergingRows.js";

/** About half a second of writing, for which the imports of a listener wait. */
export const PLAYS_AT_ONCE = 2000;
/** For batches under way. */
const LOCK_TIMEOUT_MS = 15_000;

export interface Move {
  readonly from: number;
  readonly to: number;
  readonly atOnce: number;
}

/** Whether a merge of it would keep others waiting for longer than `atOnce` plays, or tracks, take to be moved. */
export async function isLarge(
  pool: Pool,
  entity: CatalogueEntity,
  id: number,
  atOnce: number,
): Promise<boolean> {
  const pointing = [`select from listening_history where ${entity}_id = $1`];
  if (entity === "artist") pointing.push("select from tracks where artist_id = $1");
  for (const select of pointing) {
    const { rows } = await pool.query<{ n: number }>(
      `select count(*)::integer as n from (${select} limit $2::integer + 1) p`,
      [id, atOnce],
    );
    if (rows[0]!.n > atOnce) return true;
  }
  return false;
}

/** On one connection, since there may be no other. May be run again after it broke off: it goes on with what is left. */
export async function moveAhead(connection: PoolClient, entity: CatalogueEntity, move: Move): Promise<void> {
  if (entity === "artist") await moveArtist(connection, move);
  else await movePlays(connection, FORMS[entity], move);
}

/** The columns of a play that change, and its pair in album_tracks afterwards; `$4` is where it goes. */
interface Form {
  readonly column: "album_id" | "track_id";
  readonly set: string;
  readonly pair: string;
}

const FORMS: Readonly<Record<"album" | "track", Form>> = {
  album: { column: "album_id", set: "album_id = $4", pair: "$4::bigint, track_id" },
  track: {
    column: "track_id",
    set: "track_id = $4, artist_id = (select artist_id from tracks where id = $4)",
    pair: "album_id, $4::bigint",
  },
};

async function movePlays(connection: PoolClient, form: Form, move: Move): Promise<void> {
  for (let userId = await nextListener(connection, form, move, null); userId !== null;) {
    await movePlaysOf(connection, userId, form, move);
    userId = await nextListener(connection, form, move, userId);
  }
}

async function nextListener(
  connection: PoolClient,
  { column }: Form,
  { from }: Move,
  after: string | null,
): Promise<string | null> {
  const { rows } = await connection.query<{ user_id: string }>(
    `select user_id from listening_history
      where ${column} = $1 and ($2::uuid is null or user_id > $2) order by user_id limit 1`,
    [from, after],
  );
  return rows[0]?.user_id ?? null;
}

/** From the newest on: a play that is added meanwhile is left for the merge itself. */
async function movePlaysOf(connection: PoolClient, userId: string, form: Form, move: Move): Promise<void> {
  const text = `
    with picked as materialized (
      select id, track_id, album_id, played_at from listening_history
       where ${form.column} = $1 and user_id = $2 and played_at <= $3::timestamptz
       order by played_at desc limit ${move.atOnce}
    ), placed as (
      insert into album_tracks (album_id, track_id)
      select distinct ${form.pair} from picked where album_id is not null order by 1, 2
      on conflict do nothing
    ), moved as (
      update listening_history h set ${form.set} from picked p where h.id = p.id
    )
    select count(*)::integer as plays, min(played_at)::text as reached from picked`;
  for (let from: string | null = "infinity"; from !== null;) {
    const until: string = from;
    from = await inTransactionOn(connection, async (client) => {
      await lockPlaysAlone(client, userId);
      const { rows } = await client.query<{ plays: number; reached: string | null }>(text, [
        ...[move.from, userId, until, move.to],
      ]);
      const { plays, reached } = rows[0]!;
      if (plays > 0) await announceChange(client, historyOf(userId));
      return reached;
    });
  }
}

async function lockPlaysAlone(client: ClientBase, userId: string): Promise<void> {
  await client.query(
    `select set_config('lock_timeout', $2, true), pg_advisory_xact_lock(${USER_PLAYS_LOCK}), ${SHARE_CATALOGUE}`,
    [userId, String(LOCK_TIMEOUT_MS)],
  );
}

/**
 * Track by track, since plays follow their track to another artist all at once. One that has more plays than that gets
 * a twin under the other artist, and is merged with it in the end: its id changes, and the old one redirects.
 */
async function moveArtist(connection: PoolClient, move: Move): Promise<void> {
  const { from, to, atOnce } = move;
  let group: number[] = [];
  let size = 0;
  const moveGroup = async (): Promise<void> => {
    if (group.length > 0) await moveTracksOf(connection, group, move);
    [group, size] = [[], 0];
  };
  for (const { id, plays, namesake } of await tracksOf(connection, move)) {
    const twin = namesake ?? (plays > atOnce ? await makeTwin(connection, id, to) : null);
    if (twin !== null) {
      await movePlays(connection, FORMS.track, { from: id, to: twin, atOnce });
      continue;
    }
    if (size + plays + 1 > atOnce) await moveGroup();
    group.push(id);
    size += plays + 1;
  }
  await moveGroup();
  const { rows: albums } = await connection.query<{ id: number; namesake: number }>(
    `select l.id, s.id as namesake from albums l join albums s using (title_key)
      where l.artist_id = $1 and s.artist_id = $2 order by l.id`,
    [from, to],
  );
  for (const { id, namesake } of albums) {
    await movePlays(connection, FORMS.album, { from: id, to: namesake, atOnce });
  }
}

interface TrackToMove {
  readonly id: number;
  readonly plays: number;
  /** The track of the same name that the other artist has. */
  readonly namesake: number | null;
}

async function tracksOf(connection: PoolClient, { from, to }: Move): Promise<TrackToMove[]> {
  return inTransactionOn(connection, async (client) => {
    await client.query("select set_config('statement_timeout', $1, true)", [String(MERGE_TIMEOUT_MS)]);
    const statement = {
      text: `select t.id, coalesce(p.plays, 0)::integer as plays, s.id as namesake
               from tracks t
               left join (select track_id, count(*) as plays from listening_history
                           where artist_id = $1 group by track_id) p on p.track_id = t.id
               left join tracks s on s.artist_id = $2 and s.title_key = t.title_key and s.album_key = t.album_key
              where t.artist_id = $1 order by t.id`,
      values: [from, to],
      query_timeout: MERGE_TIMEOUT_MS,
    };
    return (await client.query<TrackToMove>(statement)).rows;
  });
}

/** Gives its id. An alias gives way to it, as to any track that comes under its name. */
async function makeTwin(connection: PoolClient, trackId: number, artistId: number): Promise<number> {
  return inTransactionOn(connection, async (client) => {
    await lockCatalogueAlone(client);
    const { rows: names } = await client.query<{ name: string; title: string }>(
      "select a.name, t.title from artists a cross join tracks t where a.id = $2 and t.id = $1",
      [trackId, artistId],
    );
    const { name, title } = names[0]!;
    await client.query(
      `delete from track_aliases x using tracks t
        where x.artist_id = $2 and t.id = $1 and (t.title_key, t.album_key) = (x.title_key, x.album_key)`,
      [trackId, artistId],
    );
    const { rows } = await client.query<{ id: number }>(
      `insert into tracks (artist_id, title_key, album_key, title, loose_key, duration_ms)
       select $2, title_key, album_key, title, $3, duration_ms from tracks where id = $1
       on conflict (artist_id, title_key, album_key) do update set version = tracks.version
       returning id`,
      [trackId, artistId, looseKey(name, title)],
    );
    return rows[0]!.id;
  });
}

async function moveTracksOf(
  connection: PoolClient,
  ids: readonly number[],
  { from, to }: Move,
): Promise<void> {
  await inTransactionOn(connection, async (client) => {
    await client.query(
      "select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)",
      [String(LOCK_TIMEOUT_MS), String(MERGE_TIMEOUT_MS)],
    );
    const listeners = await lockListeners(client, "track_id", ids);
    await lockCatalogueAlone(client);
    await refuseNewListeners(client, "track_id", ids, listeners);
    await moveTracks(client, from, to, ids);
    await announceChange(client, CATALOGUE);
  });
}
