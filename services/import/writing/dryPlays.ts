/** What would become of the plays of one batch, without writing any. */
import type { PoolClient } from "pg";
import { looseKey } from "../../catalog/keys.js";
import type { Arrival } from "../../history/linking/deleted.js";
import { keysOfDeleted, sightingsOfDeleted } from "../../history/linking/deleted.js";
import { DUPLICATE_REASONS } from "../verdicts.js";
import type { PlayRecord } from "./batch.js";
import { arrivalOf } from "./plays.js";
import type { Claims, PlayOwner } from "./plays.js";

/**
 * Probes row by row, see plays.ts. A play comes before a deleted one, as it does when they are written; for plays in
 * neither table there is no row.
 */
export const FIND_KNOWN = `
  select k.ord, coalesce(p.id, 0) as id
    from unnest($2::bytea[]) with ordinality k (source_key, ord)
    left join lateral (
      select id from listening_history where user_id = (select $1::uuid) and source_key = k.source_key limit 1
    ) p on true
    left join lateral (
      select true as gone from deleted_plays where user_id = (select $1::uuid) and source_key = k.source_key limit 1
    ) d on p.id is null
   where p.id is not null or d.gone`;

const ADD_KEYS = `
  insert into import_dry_keys (job_id, source_key)
  select $1, k.source_key from unnest($2::bytea[]) k (source_key)
   order by k.source_key
  on conflict (job_id, source_key) do nothing
  returning encode(source_key, 'hex')`;

interface Fate {
  readonly id: number;
  readonly reason: number;
}

const NEW: Fate = { id: 0, reason: 0 };
const SAME_ROW: Fate = { id: 0, reason: DUPLICATE_REASONS.same_row.number };
const DELETED: Fate = { id: 0, reason: DUPLICATE_REASONS.deleted_by_user.number };

/**
 * The claims that `writePlays` would return, except that a play not in the history has no id. Keys of plays that would
 * be inserted are remembered in the same transaction: a repeat is the same row, wherever in the upload it is.
 */
export async function judgeDryPlays(
  client: PoolClient,
  { userId, jobId }: PlayOwner,
  plays: readonly PlayRecord[],
): Promise<Claims> {
  const claims: Claims = { positions: [], ids: [], reasons: [] };
  if (plays.length === 0) return claims;
  const texts = plays.map(({ play }) => play.sourceKey.toString("hex"));
  const keys = [...new Set(texts)];
  const fates = await fatesOf(client, userId, keys);
  for (const key of await otherSightingsOfDeleted(client, userId, plays, fates)) fates.set(key, DELETED);
  const added = await client.query<[string]>({
    text: ADD_KEYS,
    values: [jobId, bytes(keys.filter((key) => !fates.has(key)))],
    rowMode: "array",
  });
  for (const [key] of added.rows) fates.set(key, NEW);

  for (const [index, { position }] of plays.entries()) {
    const key = texts[index]!;
    const fate = fates.get(key) ?? SAME_ROW;
    claims.positions.push(position);
    claims.ids.push(fate.id);
    claims.reasons.push(fate.reason);
    if (fate === NEW) fates.set(key, SAME_ROW);
  }
  return claims;
}

/** Of keys that stand for a play in the history, or for one that its owner deleted. */
async function fatesOf(client: PoolClient, userId: string, keys: readonly string[]) {
  const found = await client.query<[number, number]>({
    text: FIND_KNOWN,
    values: [userId, bytes(keys)],
    rowMode: "array",
  });
  return new Map(
    found.rows.map(([ord, id]): [string, Fate] => [
      keys[ord - 1]!,
      id === 0 ? DELETED : { id, reason: DUPLICATE_REASONS.already_there.number },
    ]),
  );
}

/** Keys of plays that were deleted as another source had them, by the names that the file gives them. */
async function otherSightingsOfDeleted(
  client: PoolClient,
  userId: string,
  plays: readonly PlayRecord[],
  fates: ReadonlyMap<string, Fate>,
): Promise<string[]> {
  const { rows } = await client.query("select from deleted_plays where user_id = $1 limit 1", [userId]);
  if (rows.length === 0) return [];
  const arrivals = new Map<string, Arrival>();
  for (const { play } of plays) {
    const arrival = arrivalOf(play, looseKey(play.artist, play.title));
    if (!fates.has(arrival.key)) arrivals.set(arrival.key, arrival);
  }
  const all = [...arrivals.values()];
  const concerned = await keysOfDeleted(client, userId, [...new Set(all.map((each) => each.looseKey))]);
  const deleted = await sightingsOfDeleted(
    client,
    userId,
    all.filter((each) => concerned.has(each.looseKey)),
  );
  return [...deleted].map(({ key }) => key);
}

/** As a `bytea[]` in text form. */
const bytes = (keys: readonly string[]): string => `{${keys.map((key) => `"\\\\x${key}"`).join(",")}}`;
