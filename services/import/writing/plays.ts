/** The plays of one batch: into the history, and which row of it each record now stands for. */
import type { PoolClient } from "pg";
import { brokenConstraint } from "../../../db/errors.js";
import { newIds, numbersOf } from "../../../db/lists.js";
import { looseKeysOf, noteDeleted, sightingsOfDeleted } from "../../history/linking/deleted.js";
import type { Arrival } from "../../history/linking/deleted.js";
import { DUPLICATE_REASONS } from "../verdicts.js";
import type { Play } from "../types.js";
import { copyBinaryInto, field, uuidField } from "./copyBinary.js";
import type { BinaryRows } from "./copyBinary.js";
import type { CatalogueIds } from "./resolver.js";

export interface PlacedPlay {
  /** 0-based index of the record in the part. */
  readonly position: number;
  readonly play: Play;
  readonly ids: CatalogueIds;
}

/** One per record, in order of position. */
export interface Claims {
  readonly positions: number[];
  /** The play the record stands for; 0 = its owner deleted it. */
  readonly ids: number[];
  /** 0 = inserted, else the number of the duplicate reason. */
  readonly reasons: number[];
}

export interface PlayOwner {
  readonly userId: string;
  readonly jobId: string;
}

/** A row that was there a moment ago is not there any more: the transaction must run again. */
class VanishedPlayError extends Error {
  readonly code = "40001"; // handled like any other lost race
}

/**
 * The keys come as one value, 16 bytes each, in which row `ord` finds its own. Each look-up is a LATERAL with LIMIT 1,
 * which can only be done by index probe: the planner guesses the number of keys, and joined to a long history it
 * would read all of that history into a hash.
 *
 * The user comes from a sub-select, so that the planner does not know who it is. Of a user that its statistics do not
 * know it would believe that there are no plays, and read all of them by another index for every key.
 */
const OF_USER = "user_id = (select $1::uuid)";
const KEYS = "generate_series(0, octet_length($2::bytea) / 16 - 1) as k (ord)";
const KEY = "substr($2::bytea, k.ord * 16 + 1, 16)";

/** Rows that are there, as lists: a message for each row would cost more than finding it. */
export const FIND_PLAYS = `
  select string_agg(k.ord::text, ',') as ords, string_agg(p.id::text, ',') as ids,
         string_agg(p.own::int::text, ',') as owns
    from ${KEYS}
    cross join lateral (
      select id, import_job_id is not distinct from $3::uuid as own
        from listening_history where ${OF_USER} and source_key = ${KEY} limit 1
    ) p`;

export const FIND_DELETED = `
  select string_agg(k.ord::text, ',') as ords,
         exists (select from deleted_plays where user_id = $1::uuid) as "anyDeleted"
    from ${KEYS}
    cross join lateral (
      select 1 from deleted_plays where ${OF_USER} and source_key = ${KEY} limit 1
    ) d
   where exists (select from deleted_plays where user_id = $1::uuid)`;

/** In the order of `writeRow`. */
const COLUMNS = `user_id, import_job_id, id, source_key, track_id, artist_id, album_id, played_at, ended_at,
  start_earliest, start_latest, ms_played, duration_ms, counted, precision, source, context`;
const COLUMN_COUNT = Buffer.from([0, 17]);
/** More than all values of a row without its context need. */
const ROW_BYTES = 512;

const INSERT_CONTESTED = `
  insert into listening_history (${COLUMNS}) overriding system value
  select ${COLUMNS} from contested_plays order by source_key
  on conflict (user_id, source_key) do nothing`;

/** One distinct key of the batch, and what became of it. */
interface Row {
  /** The source key, a character for each byte. */
  readonly key: string;
  readonly placed: PlacedPlay;
  /** 0 until it is known; 0 for ever when its owner deleted the play. */
  id: number;
  reason: number;
}

/**
 * Inserts the plays that are new and returns what every record stands for. `plays` are in order of position. A
 * record that repeats another is `same_row` when this job brought the row it repeats, wherever in the upload,
 * and `already_there` when it did not, so how rows are spread over files and batches changes no count.
 */
export async function writePlays(
  client: PoolClient,
  owner: PlayOwner,
  plays: readonly PlacedPlay[],
): Promise<Claims> {
  const claims: Claims = { positions: [], ids: [], reasons: [] };
  if (plays.length === 0) return claims;

  const byKey = new Map<string, Row>();
  const rowOf = plays.map((placed) => {
    const key = placed.play.sourceKey.toString("latin1");
    let row = byKey.get(key);
    if (row === undefined) byKey.set(key, (row = { key, placed, id: 0, reason: 0 }));
    return row;
  });
  // In the order of the unique index, so that two imports of the same rows cannot wait for each other in a ring.
  const rows = [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  const fresh = await withoutKnown(client, owner, rows);
  if (fresh.length > 0) await insert(client, owner, fresh);

  for (const [index, placed] of plays.entries()) {
    const row = rowOf[index]!;
    const repeats = row.reason === 0 && row.placed !== placed;
    claims.positions.push(placed.position);
    claims.ids.push(row.id);
    claims.reasons.push(repeats ? DUPLICATE_REASONS.same_row.number : row.reason);
  }
  return claims;
}

/** Settles the rows that are there and those that were deleted; returns the others. */
async function withoutKnown(
  client: PoolClient,
  { userId, jobId }: PlayOwner,
  rows: readonly Row[],
): Promise<readonly Row[]> {
  const keys = packed(rows);
  const known = await client.query<{ ords: string | null; ids: string | null; owns: string | null }>(
    FIND_PLAYS,
    [userId, keys, jobId],
  );
  const { ords, ids, owns } = known.rows[0]!;
  const settled = new Set<Row>();
  const found = numbersOf(ids);
  const own = numbersOf(owns);
  for (const [index, ord] of numbersOf(ords).entries()) {
    const row = rows[ord]!;
    // A row with this very id is the one that was just inserted; see `insertContested`.
    if (row.id !== found[index]) {
      row.id = found[index]!;
      row.reason = DUPLICATE_REASONS[own[index] === 1 ? "same_row" : "already_there"].number;
    }
    settled.add(row);
  }
  if (settled.size === rows.length) return [];

  const deleted = await client.query<{ ords: string | null; anyDeleted: boolean }>(FIND_DELETED, [
    userId,
    keys,
  ]);
  const settleDeleted = (row: Row): void => {
    if (settled.has(row)) return;
    row.reason = DUPLICATE_REASONS.deleted_by_user.number;
    settled.add(row);
  };
  const { ords: deletedOrds, anyDeleted } = deleted.rows[0]!;
  for (const ord of numbersOf(deletedOrds)) settleDeleted(rows[ord]!);
  if (!anyDeleted) return settled.size === 0 ? rows : rows.filter((row) => !settled.has(row));
  const left = rows.filter((row) => !settled.has(row));
  const seenElsewhere = await otherSightingsOfDeleted(client, userId, left);
  for (const row of seenElsewhere) settleDeleted(row);
  return left.filter((row) => !seenElsewhere.has(row));
}

/** Plays that were deleted as another source had them. From now on they are known by their own keys. */
async function otherSightingsOfDeleted(
  client: PoolClient,
  userId: string,
  rows: readonly Row[],
): Promise<Set<Row>> {
  const looseKeys = await looseKeysOf(
    client,
    userId,
    rows.map(({ placed }) => placed.ids.trackId),
  );
  const arrivals = rows.flatMap((row): (Arrival & { readonly row: Row })[] => {
    const looseKey = looseKeys.get(row.placed.ids.trackId);
    return looseKey === undefined ? [] : [{ ...arrivalOf(row.placed.play, looseKey), row }];
  });
  const deleted = await sightingsOfDeleted(client, userId, arrivals);
  await noteDeleted(client, userId, deleted);
  return new Set([...deleted].map(({ row }) => row));
}

export const arrivalOf = (play: Play, looseKey: string): Arrival => ({
  source: play.source,
  key: play.sourceKey.toString("hex"),
  playedAt: play.playedAt,
  startEarliest: play.startEarliest,
  startLatest: play.startLatest,
  endedAt: play.endedAt,
  looseKey,
});

/**
 * COPY straight into the history, which knows no ON CONFLICT: when another import brings one of the rows at the same
 * moment, COPY waits for it and fails, and the rows go the longer way.
 */
async function insert(client: PoolClient, owner: PlayOwner, rows: readonly Row[]): Promise<void> {
  const ids = await newIds(client, "listening_history", rows.length);
  rows.forEach((row, index) => (row.id = ids[index]!));
  await client.query("savepoint plays");
  try {
    await copyRows(client, owner, "listening_history", rows);
  } catch (error) {
    if (brokenConstraint(error) !== "plays_once") throw error;
    await client.query("rollback to savepoint plays");
    await insertContested(client, owner, rows);
  }
}

async function insertContested(client: PoolClient, owner: PlayOwner, rows: readonly Row[]): Promise<void> {
  await client.query(
    `create temporary table contested_plays on commit drop as select ${COLUMNS} from listening_history with no data`,
  );
  await copyRows(client, owner, "contested_plays", rows);
  await client.query(INSERT_CONTESTED);
  const lost = await withoutKnown(client, owner, rows);
  if (lost.length > 0) throw new VanishedPlayError("A play vanished while its batch was written");
}

/** The innermost loop of an import. */
async function copyRows(
  client: PoolClient,
  { userId, jobId }: PlayOwner,
  table: "listening_history" | "contested_plays",
  rows: readonly Row[],
): Promise<void> {
  const begin = Buffer.concat([COLUMN_COUNT, uuidField(userId), uuidField(jobId)]);
  const writeRow = ({ id, placed: { play, ids } }: Row, out: BinaryRows): void => {
    const context = play.context === null ? null : JSON.stringify(play.context);
    out.reserve(ROW_BYTES + 3 * (context?.length ?? 0));
    out.bytes(begin);
    out.bigint(id);
    out.bytea(play.sourceKey);
    out.bigint(ids.trackId);
    out.bigint(ids.artistId);
    out.bigint(ids.albumId);
    out.time(play.playedAt);
    out.time(play.endedAt);
    out.time(play.startEarliest);
    out.time(play.startLatest);
    out.integer(play.msPlayed);
    out.integer(play.durationMs);
    out.boolean(play.counted);
    out.bytes(label(play.precision));
    out.bytes(label(play.source));
    out.json(context);
  };
  await copyBinaryInto(client, `${table} (${COLUMNS})`, rows, writeRow);
}

/** The values of two enums: a few in all. */
const labels = new Map<string, Buffer>();

function label(name: Play["precision"] | Play["source"]): Buffer {
  let bytes = labels.get(name);
  if (bytes === undefined) labels.set(name, (bytes = field(Buffer.from(name))));
  return bytes;
}

function packed(rows: readonly Row[]): Buffer {
  const keys = Buffer.allocUnsafe(16 * rows.length);
  for (const [index, row] of rows.entries()) keys.set(row.placed.play.sourceKey, 16 * index);
  return keys;
}
