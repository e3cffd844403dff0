/** Corrects one play. Its identity stays that of its source row, so no file brings back what was corrected. */
import type pg from "pg";
import { announceChange, historyOf } from "../../db/queries/cacheVersions.js";
import { listenById } from "../../db/queries/listeningHistory.js";
import type { TimePrecision } from "../../db/models/enums.js";
import { NotFoundError, ValidationError } from "../../utils/errors.js";
import { placeOnAlbums } from "./choices.js";
import { keysOfPlays, relinkKeys } from "./linking/relink.js";
import { countsAsListen } from "./listenRule.js";
import { type PlayChanges, startRange } from "./manualPlays.js";
import type { Place, Placed, Places } from "./places.js";
import { withPlaysOf } from "./userPlays.js";

/** Told what the owner sees of the play now, as JSON text, under the lock of the change; throws to keep it from happening. */
export type CheckState = (current: string) => void;

/** The columns a correction can change. */
interface PlayRow {
  readonly track_id: number;
  readonly artist_id: number;
  readonly album_id: number | null;
  readonly played_at: Date;
  readonly ended_at: Date | null;
  readonly start_earliest: Date;
  readonly start_latest: Date;
  readonly precision: TimePrecision;
  readonly ms_played: number | null;
  readonly duration_ms: number | null;
  readonly counted: boolean;
}

/**
 * The play as JSON text, changed. Throws `NotFoundError`, `ValidationError` for a track or an album that is not there,
 * and what `check` throws.
 */
export async function editPlay(
  { pool, places }: { readonly pool: pg.Pool; readonly places: Places },
  userId: string,
  id: number,
  changes: PlayChanges,
  check: CheckState,
): Promise<string> {
  await assertOwn(pool, userId, id); // names of a correction that cannot happen stay out of the catalogue
  const { what } = changes;
  return places.with(what === undefined ? [] : [{ path: "", what }], async ([placed]) => {
    const place = placed === undefined ? undefined : placeOf(placed);
    return withPlaysOf(pool, userId, "shared", async (client) => {
      const row = await lockPlay(client, userId, id);
      check(await ownPlay(client, userId, id));
      const { albumId } = changes;
      const album = albumId == null ? albumId : await albumOf(client, row, albumId);
      const next = correct(row, { ...changes, ...(album === undefined ? {} : { albumId: album }) }, place);
      const before = await keysOfPlays(client, [id]);
      if (await update(client, id, row, next)) {
        await relinkKeys(client, userId, [...new Set([...before, ...(await keysOfPlays(client, [id]))])]);
        await announceChange(client, historyOf(userId));
      }
      return ownPlay(client, userId, id);
    });
  });
}

const COLUMNS = [
  "track_id",
  "artist_id",
  "album_id",
  "played_at",
  "ended_at",
  "start_earliest",
  "start_latest",
  "precision",
  "ms_played",
  "duration_ms",
  "counted",
] as const satisfies readonly (keyof PlayRow)[];

/** Writes what differs, and nothing else: a time is kept more exactly than a Date has it. False when nothing does. */
async function update(client: pg.PoolClient, id: number, before: PlayRow, after: PlayRow): Promise<boolean> {
  const changed = COLUMNS.filter((column) => plain(before[column]) !== plain(after[column]));
  if (changed.length === 0) return false;
  const set = changed.map((column, index) => `${column} = $${index + 2}`);
  await client.query(
    `update listening_history set ${set.join(", ")}, version = version + 1, updated_at = now() where id = $1`,
    [id, ...changed.map((column) => after[column])],
  );
  return true;
}

const plain = (value: PlayRow[keyof PlayRow]): unknown => (value instanceof Date ? value.getTime() : value);

/**
 * What follows from each correction: a start that its owner tells is exact, and when such a play ended nobody knows; the
 * duration stays the one that the source gave unless the names come with another.
 */
function correct(
  row: PlayRow,
  { playedAt, msPlayed, what, sameAlbum = false, albumId }: PlayChanges,
  place?: Place,
): PlayRow {
  const next = { ...row };
  if (playedAt !== undefined && playedAt.getTime() !== row.played_at.getTime()) {
    const { startEarliest, startLatest } = startRange(playedAt);
    Object.assign(next, {
      played_at: playedAt,
      ended_at: null,
      start_earliest: startEarliest,
      start_latest: startLatest,
      precision: "second",
    } satisfies Partial<PlayRow>);
  }
  if (msPlayed !== undefined) Object.assign(next, { ms_played: msPlayed });
  if (place !== undefined) {
    const onAlbum = sameAlbum && place.trackId === row.track_id ? row.album_id : place.albumId;
    Object.assign(next, { track_id: place.trackId, artist_id: place.artistId, album_id: onAlbum });
    const durationMs = what !== undefined && "track" in what ? what.track.durationMs : null;
    if (durationMs !== null) Object.assign(next, { duration_ms: durationMs });
  }
  if (albumId !== undefined) Object.assign(next, { album_id: albumId });
  const lengths = { msPlayed: next.ms_played, durationMs: next.duration_ms };
  return { ...next, counted: countsAsListen(lengths) };
}

/** The album that the play of `row` is to be on; it may have been merged into another. */
async function albumOf(client: pg.PoolClient, row: PlayRow, albumId: number): Promise<number> {
  const choice = { path: "", albumId, trackId: row.track_id, artistId: row.artist_id };
  const [chosen] = await placeOnAlbums(client, [choice]);
  if (chosen === undefined || !("problem" in chosen)) return chosen?.albumId ?? albumId;
  throw new ValidationError(chosen.problem.message, [chosen.problem]);
}

function placeOf(placed: Placed): Place {
  if ("problem" in placed) throw new ValidationError(placed.problem.message, [placed.problem]);
  return placed.place;
}

async function assertOwn(pool: pg.Pool, userId: string, id: number): Promise<void> {
  const { rowCount } = await pool.query("select from listening_history where id = $1 and user_id = $2", [
    id,
    userId,
  ]);
  if (rowCount === 0) throw new NotFoundError();
}

async function lockPlay(client: pg.PoolClient, userId: string, id: number): Promise<PlayRow> {
  const { rows } = await client.query<PlayRow>(
    `select ${COLUMNS.join(", ")} from listening_history where id = $1 and user_id = $2 for no key update`,
    [id, userId],
  );
  const [row] = rows;
  if (row === undefined) throw new NotFoundError();
  return row;
}

/** As `GET` shows it to its owner. */
export async function ownPlay(client: pg.PoolClient, userId: string, id: number): Promise<string> {
  const found = await listenById(client, id, userId);
  if (found?.own !== true) throw new NotFoundError();
  return found.item;
}
