/**
 * The plays of an export, oldest first. `source` and `sourceKey` are what a play is recognised by, so that an import of the
 * file can give the same rows again, whatever became of names meanwhile.
 */
import type { Pool } from "pg";
import { csvLine } from "../../../utils/csv.js";
import { type ExportRecord, PAGE_ROWS } from "./records.js";

interface PlayRow {
  readonly place: string;
  readonly id: number;
  readonly played_at: Date;
  readonly ended_at: Date | null;
  readonly start_earliest: Date;
  readonly start_latest: Date;
  readonly ms_played: number | null;
  readonly duration_ms: number | null;
  readonly precision: string;
  readonly source: string;
  readonly source_key: Buffer;
  readonly counted: boolean;
  readonly duplicate_of: number | null;
  readonly duplicate_of_key: Buffer | null;
  readonly import_job_id: string | null;
  readonly track_id: number;
  readonly title: string;
  readonly isrc: string | null;
  readonly track_ids: readonly { readonly provider: string; readonly id: string }[];
  readonly artist_id: number;
  readonly artist: string;
  readonly album_id: number | null;
  readonly album: string | null;
  readonly context: unknown;
  readonly created_at: Date;
  readonly updated_at: Date;
}

const statement = (condition: string): string => `
  select to_char(h.played_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as place,
         h.id, h.played_at, h.ended_at, h.start_earliest, h.start_latest, h.ms_played, h.duration_ms, h.precision,
         h.source, h.source_key, h.counted, h.duplicate_of, leader.source_key as duplicate_of_key, h.import_job_id,
         h.track_id, t.title, t.isrc,
         (select coalesce(json_agg(json_build_object('provider', e.provider, 'id', e.external_id)
                                   order by e.provider, e.external_id), '[]')
            from external_ids e where e.entity = 'track' and e.entity_id = h.track_id) as track_ids,
         h.artist_id, a.name as artist, h.album_id, b.title as album, h.context, h.created_at, h.updated_at
    from (select * from listening_history where user_id = $1 ${condition} order by played_at, id limit $2) h
    join tracks t on t.id = h.track_id
    join artists a on a.id = h.artist_id
    left join albums b on b.id = h.album_id
    left join listening_history leader on leader.id = h.duplicate_of
   order by h.played_at, h.id`;

/** In pages. What changes its time while it is read may be missed, or be there twice; see the manifest of the export. */
export async function* playsOf(pool: Pool, userId: string): AsyncGenerator<readonly PlayRow[]> {
  for (let last: PlayRow | undefined; ;) {
    const from = last;
    const { rows } = await pool.query<PlayRow>(
      statement(from === undefined ? "" : "and (played_at, id) > ($3::timestamptz, $4::bigint)"),
      [userId, PAGE_ROWS, ...(from === undefined ? [] : [from.place, from.id])],
    );
    if (rows.length > 0) yield rows;
    if (rows.length < PAGE_ROWS) return;
    last = rows.at(-1);
  }
}

/** Every column but the owner, and the names behind its ids. */
export const playRecord = (row: PlayRow): ExportRecord => ({
  id: row.id,
  playedAt: row.played_at,
  endedAt: row.ended_at,
  startEarliest: row.start_earliest,
  startLatest: row.start_latest,
  msPlayed: row.ms_played,
  durationMs: row.duration_ms,
  precision: row.precision,
  source: row.source,
  sourceKey: row.source_key.toString("hex"),
  counted: row.counted,
  duplicateOf: row.duplicate_of,
  duplicateOfKey: row.duplicate_of_key?.toString("hex") ?? null,
  importId: row.import_job_id,
  track: { id: row.track_id, title: row.title, isrc: row.isrc, externalIds: row.track_ids },
  artist: { id: row.artist_id, name: row.artist },
  album: row.album_id === null ? null : { id: row.album_id, title: row.album },
  context: row.context,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
});

export const PLAY_CSV_HEAD = csvLine([
  ...[
    "playedAt",
    "msPlayed",
    "durationMs",
    "artist",
    "track",
    "album",
    "isrc",
    "source",
    "precision",
    "counted",
  ],
  ...["sourceKey", "duplicateOfKey"],
]);

/** What one wants to look at in a spreadsheet. */
export const playCsv = (row: PlayRow): string =>
  csvLine([
    row.played_at.toISOString(),
    row.ms_played,
    row.duration_ms,
    row.artist,
    row.title,
    row.album,
    row.isrc,
    row.source,
    row.precision,
    row.counted,
    row.source_key.toString("hex"),
    row.duplicate_of_key?.toString("hex") ?? null,
  ]);
