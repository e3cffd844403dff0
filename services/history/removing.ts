/** Takes plays out of a history for good, and takes back that a play is another sighting of one. */
import type pg from "pg";
import { announceChange, historyOf } from "../../db/queries/cacheVersions.js";
import { ConflictError, NotFoundError } from "../../utils/errors.js";
import { type CheckState, ownPlay } from "./editing.js";
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
    await client.query(REMOVE_CLUSTER, [userId, found.leader]);
    await announceChange(client, historyOf(userId));
  });
}

/** How exactly the end of a play is known where its source tells it. */
const END_SLACK =
  "case source when 'spotify-account' then interval '60 seconds' else interval '2 seconds' end";

const REMOVE_CLUSTER = `
  with cluster as (
    select h.* from listening_history h where h.user_id = $1 and (h.id = $2 or h.duplicate_of = $2)
  ), noted as (
    insert into deleted_plays (user_id, source_key, source, loose_key, start_earliest, start_latest, end_earliest, end_latest)
    select c.user_id, c.source_key, c.source, t.loose_key, c.start_earliest, c.start_latest,
           c.ended_at - ${END_SLACK}, c.ended_at + ${END_SLACK}
      from cluster c join tracks t on t.id = c.track_id
     order by c.source_key
    on conflict (user_id, source_key) do nothing
  )
  delete from listening_history where id in (select id from cluster)`;

/**
 * Makes a play of its own of one that was taken for another sighting, and notes that these two are two, so that they are
 * not linked again; the play as JSON text. Throws `NotFoundError`, `ConflictError` (`wrong_state`) for a play that is
 * no other's sighting, and what `check` throws.
 */
export async function unlinkPlay(
  pool: pg.Pool,
  userId: string,
  id: number,
  check: CheckState,
): Promise<string> {
  return withPlaysOf(pool, userId, "shared", async (client) => {
    const { rows } = await client.query<{ source_key: Buffer; leader_key: Buffer | null }>(
      `select h.source_key, l.source_key as leader_key
         from listening_history h left join listening_history l on l.id = h.duplicate_of
        where h.id = $1 and h.user_id = $2 for no key update of h`,
      [id, userId],
    );
    const [found] = rows;
    if (found === undefined) throw new NotFoundError();
    check(await ownPlay(client, userId, id));
    if (found.leader_key === null) {
      throw new ConflictError("wrong_state", "This play is not another sighting of one");
    }
    await client.query(
      `insert into play_link_overrides (user_id, first_key, second_key)
       values ($1, least($2::bytea, $3::bytea), greatest($2::bytea, $3::bytea))
       on conflict (user_id, first_key, second_key) do nothing`,
      [userId, found.source_key, found.leader_key],
    );
    await client.query(
      `update listening_history set duplicate_of = null, version = version + 1, updated_at = now() where id = $1`,
      [id],
    );
    await announceChange(client, historyOf(userId));
    return ownPlay(client, userId, id);
  });
}
