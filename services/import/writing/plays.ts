/** The plays of one batch: into the history, and which row of it each record now stands for. */
import type { PoolClient } from "pg";
import { DUPLICATE_REASONS } from "../verdicts.js";
import type { Play } from "../types.js";
import { copyInto, copyValue } from "./copyText.js";
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
export class VanishedPlayError extends Error {
  readonly code = "40001"; // handled like any other lost race
}

const staged = new WeakSet<PoolClient>();

/** Once per connection, outside any transaction: a rollback would take the table along. */
export async function ensureStaging(client: PoolClient): Promise<void> {
  if (staged.has(client)) return;
  await client.query(
    `create temporary table if not exists staged_plays (
       ord integer not null, source_key bytea not null, track_id bigint not null, artist_id bigint not null,
       album_id bigint, played_at timestamptz not null, ended_at timestamptz, start_earliest timestamptz not null,
       start_latest timestamptz not null, ms_played integer, duration_ms integer, precision time_precision not null,
       source play_source not null, counted boolean not null, context jsonb
     ) on commit delete rows`,
  );
  staged.add(client);
}

/**
 * The staging table is never analysed, so the planner guesses its size and, joined to a long history, would read
 * all of it into a hash. Each look-up is therefore a LATERAL with LIMIT 1, which can only be done by index probe.
 */
export const INSERT_PLAYS = `
  insert into listening_history (
    user_id, import_job_id, source_key, track_id, artist_id, album_id, played_at, ended_at, start_earliest,
    start_latest, ms_played, duration_ms, precision, source, counted, context
  )
  select $1::uuid, $2::uuid, s.source_key, s.track_id, s.artist_id, s.album_id, s.played_at, s.ended_at,
         s.start_earliest, s.start_latest, s.ms_played, s.duration_ms, s.precision, s.source, s.counted, s.context
    from staged_plays s
    left join lateral (
      select true as gone from deleted_plays d where d.user_id = $1 and d.source_key = s.source_key limit 1
    ) d on true
   where d.gone is null
   order by s.source_key
  on conflict (user_id, source_key) do nothing
  returning id, encode(source_key, 'hex')`;

export const FIND_PLAYS = `
  select s.ord, p.id, p.own
    from staged_plays s
    cross join lateral (
      select id, import_job_id is not distinct from $2::uuid as own
        from listening_history where user_id = $1 and source_key = s.source_key limit 1
    ) p`;

export const FIND_DELETED = `
  select s.ord
    from staged_plays s
    cross join lateral (
      select 1 from deleted_plays where user_id = $1 and source_key = s.source_key limit 1
    ) d`;

interface StagedRow {
  /** The source key in hexadecimal. */
  readonly key: string;
  readonly placed: PlacedPlay;
}

type Fate = { readonly id: number; readonly reason: number };

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

  const keys = plays.map((placed) => placed.play.sourceKey.toString("hex"));
  const firsts = new Map<string, PlacedPlay>();
  for (const [index, placed] of plays.entries()) {
    const key = keys[index]!;
    if (!firsts.has(key)) firsts.set(key, placed);
  }
  const rows: StagedRow[] = [];
  for (const [key, placed] of firsts) rows.push({ key, placed });
  // In the order of the unique index, so that two imports of the same rows cannot wait for each other in a ring.
  rows.sort((a, b) => (a.key < b.key ? -1 : 1));
  const fates = await settle(client, owner, rows);

  for (const [index, placed] of plays.entries()) {
    const key = keys[index]!;
    const fate = fates.get(key)!;
    const repeats = fate.reason === 0 && firsts.get(key) !== placed;
    claims.positions.push(placed.position);
    claims.ids.push(fate.id);
    claims.reasons.push(repeats ? DUPLICATE_REASONS.same_row.number : fate.reason);
  }
  return claims;
}

async function settle(
  client: PoolClient,
  { userId, jobId }: PlayOwner,
  rows: readonly StagedRow[],
): Promise<Map<string, Fate>> {
  await copyInto(
    client,
    `staged_plays (ord, source_key, track_id, artist_id, album_id, played_at, ended_at, start_earliest, start_latest,
       ms_played, duration_ms, precision, source, counted, context)`,
    copyRows(rows),
  );
  const inserted = await client.query<[number, string]>({
    text: INSERT_PLAYS,
    values: [userId, jobId],
    rowMode: "array",
  });
  const fates = new Map<string, Fate>(inserted.rows.map(([id, key]) => [key, { id, reason: 0 }]));
  if (fates.size === rows.length) return fates;

  const found = await client.query<[number, number, boolean]>({
    text: FIND_PLAYS,
    values: [userId, jobId],
    rowMode: "array",
  });
  for (const [ord, id, own] of found.rows) {
    const key = rows[ord]!.key;
    const reason = own ? DUPLICATE_REASONS.same_row.number : DUPLICATE_REASONS.already_there.number;
    if (!fates.has(key)) fates.set(key, { id, reason });
  }
  if (fates.size === rows.length) return fates;

  const deleted = await client.query<[number]>({ text: FIND_DELETED, values: [userId], rowMode: "array" });
  for (const [ord] of deleted.rows) {
    const key = rows[ord]!.key;
    if (!fates.has(key)) fates.set(key, { id: 0, reason: DUPLICATE_REASONS.deleted_by_user.number });
  }
  if (fates.size < rows.length) throw new VanishedPlayError("A play vanished while its batch was written");
  return fates;
}

const time = (ms: number): string => new Date(ms).toISOString();
const optional = (value: number | null): string => (value === null ? "\\N" : String(value));

/**
 * Written out by hand: this is the innermost loop of an import. Only the context can hold a character that COPY
 * text would take for its own.
 */
function* copyRows(rows: readonly StagedRow[]): Generator<string> {
  for (const [ord, { key, placed }] of rows.entries()) {
    const { play, ids } = placed;
    const playedAt = time(play.playedAt);
    const earliest = play.startEarliest === play.playedAt ? playedAt : time(play.startEarliest);
    const latest = play.startLatest === play.playedAt ? playedAt : time(play.startLatest);
    const endedAt = play.endedAt === null ? "\\N" : time(play.endedAt);
    const context = copyValue(play.context === null ? null : JSON.stringify(play.context));
    yield (
      `${ord}\t\\\\x${key}\t${ids.trackId}\t${ids.artistId}\t${optional(ids.albumId)}\t${playedAt}\t${endedAt}\t${earliest}\t` +
      `${latest}\t${optional(play.msPlayed)}\t${optional(play.durationMs)}\t${play.precision}\t${play.source}\t` +
      `${play.counted ? "t" : "f"}\t${context}\n`
    );
  }
}
