/** Takes plays out of a history for good, and takes back that a play is another sighting of one. */
import type pg from "pg";
import { PLAY_SOURCES } from "../../db/models/enums.js";
import { announceChange, historyOf } from "../../db/queries/cacheVersions.js";
import { ConflictError, NotFoundError } from "../../utils/errors.js";
import { type CheckState, ownPlay } from "./editing.js";
import { keysOfPlays, relinkKeys, relinkPlays } from "./linking/relink.js";
import { endSlackMs } from "./linking/rules.js";
import { withPlaysOf } from "./userPlays.js";

/**
 * Deletes the play with all its sightings, whichever of them `id` is, and notes of each what it is recognised by: no
 * import or sync brings one of them again. Throws `NotFoundError`, and what `check` throws.
 */
export async function removePlay(
  pool: pg.Pool,
  userId: string,
  id: number,
  check: CheckState,
): Promise<void> {
  await withPlaysOf(pool, userId, "alone", async (client) => {
    const { rows } = await client.query<{ leader: number }>(
      `select coalesce(duplicate_of, id) as leader from listening_history
        where id = $1 and user_id = $2 for update`,
      [id, userId],
    );
    const [found] = rows;
    if (found === undefined) throw new NotFoundError();
    check(await ownPlay(client, userId, id));
    const sightings = await sightingsOf(client, found.leader);
    const keys = await keysOfPlays(client, sightings);
    await client.query(REMOVE, [sightings]);
    await relinkKeys(client, userId, keys);
    await announceChange(client, historyOf(userId));
  });
}

/** The leader and all that follow it. */
async function sightingsOf(client: pg.ClientBase, leader: number): Promise<number[]> {
  const { rows } = await client.query<{ id: number }>(
    "select id from listening_history where id = $1 or duplicate_of = $1",
    [leader],
  );
  return rows.map(({ id }) => id);
}

/** How exactly the end of a play is known where its source tells it. */
const END_SLACK = `case c.source ${PLAY_SOURCES.map(
  (source) => `when '${source}' then interval '${endSlackMs(source)} milliseconds'`,
).join(" ")} end`;

const REMOVE = `
  with noted as (
    insert into deleted_plays (user_id, source_key, source, loose_key, start_earliest, start_latest, end_earliest, end_latest)
    select c.user_id, c.source_key, c.source, t.loose_key, c.start_earliest, c.start_latest,
           c.ended_at - ${END_SLACK}, c.ended_at + ${END_SLACK}
      from listening_history c join tracks t on t.id = c.track_id
     where c.id = any ($1::bigint[])
     order by c.source_key
    on conflict (user_id, source_key) do nothing
  )
  delete from listening_history where id = any ($1::bigint[])`;

/**
 * Notes that this play and those that it was taken for another sighting of are two, so that they are not linked again, and
 * links it anew: to another play that fits, if there is one, else it is a play of its own. The play as JSON text. Throws
 * `NotFoundError`, `ConflictError` (`wrong_state`) for a play that is no other's sighting, and what `check` throws.
 */
export async function unlinkPlay(
  pool: pg.Pool,
  userId: string,
  id: number,
  check: CheckState,
): Promise<string> {
  return withPlaysOf(pool, userId, "shared", async (client) => {
    const { rows } = await client.query<{ leader: number | null }>(
      `select duplicate_of as leader from listening_history where id = $1 and user_id = $2 for no key update`,
      [id, userId],
    );
    const [found] = rows;
    if (found === undefined) throw new NotFoundError();
    check(await ownPlay(client, userId, id));
    if (found.leader === null) {
      throw new ConflictError("wrong_state", "This play is not another sighting of one");
    }
    await client.query(TELL_APART, [id, await sightingsOf(client, found.leader)]);
    await client.query(
      `update listening_history set duplicate_of = null, version = version + 1, updated_at = now() where id = $1`,
      [id],
    );
    await relinkPlays(client, userId, [id]);
    await announceChange(client, historyOf(userId));
    return ownPlay(client, userId, id);
  });
}

/** From every sighting of the play, for any of them may lead it one day. */
const TELL_APART = `
  insert into play_link_overrides (user_id, first_key, second_key)
  select h.user_id, least(h.source_key, o.source_key), greatest(h.source_key, o.source_key)
    from listening_history h cross join listening_history o
   where h.id = $1 and o.id = any ($2::bigint[]) and o.id <> h.id
   order by 2, 3
  on conflict (user_id, first_key, second_key) do nothing`;
