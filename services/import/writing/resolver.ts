/** Gives plays their place in the catalogue: what was seen before from memory, the rest set-based in one transaction. */
import type { Pool, PoolClient } from "pg";
import {
  addAlbumTracks,
  addExternalIds,
  albumKeyOf,
  externalKeyOf,
  findOrCreateAlbums,
  findOrCreateArtists,
  findOrCreateTracks,
  findTracksByExternalIds,
  trackKeyOf,
  UNKNOWN_ARTIST_KEY,
} from "../../catalog/findOrCreate.js";
import type { TrackRef, TrackWanted } from "../../catalog/findOrCreate.js";
import { looseKey, nameKey } from "../../catalog/keys.js";
import type { ExternalId, Play } from "../types.js";
import { inTransaction, isolateRefused, refusalOf } from "./transaction.js";

export interface CatalogueIds {
  readonly trackId: number;
  readonly artistId: number;
  readonly albumId: number | null;
}

/** The texts and the strong id of a play: equal descriptions are one track on one album. */
type Description = Pick<Play, "artist" | "title" | "album" | "trackId" | "durationMs">;

export interface Resolution {
  /** By index of the play; undefined where the catalogue refused it. */
  readonly ids: readonly (CatalogueIds | undefined)[];
  /** The error for each index that was refused. */
  readonly refused: ReadonlyMap<number, unknown>;
}

/** Entries kept in memory: about 30 MB of a library larger than any seen in an export. */
const REMEMBERED = 100_000;
/** Longer descriptions are looked up each time; names may have 4 KiB each, and so many of those would fill the heap. */
const REMEMBERED_LENGTH = 500;

/**
 * One for all imports of a process: the catalogue is shared, and its ids are stable, except across a merge. Then
 * a batch is refused by a foreign key, and `forget` is the cure.
 */
export class CatalogueResolver {
  readonly #known = new Map<string, CatalogueIds>();

  constructor(
    private readonly pool: Pool,
    private readonly remembered = REMEMBERED,
  ) {}

  /** Rows it creates are committed when it returns. One that no play comes to use is harmless. */
  async resolve(plays: readonly Description[]): Promise<Resolution> {
    const misses = new Map<string, Description>();
    const keys = plays.map(rawKeyOf);
    const batch = new Map<string, CatalogueIds>();
    plays.forEach((play, index) => {
      const key = keys[index]!;
      const known = this.#known.get(key);
      if (known === undefined) misses.set(key, play);
      else batch.set(key, known);
    });

    const refusedKeys = new Map<string, unknown>();
    if (misses.size > 0) {
      const entries = [...misses];
      const learn = async (run: readonly (readonly [string, Description])[]): Promise<void> => {
        const ids = await inTransaction(this.pool, (client) =>
          resolveAll(
            client,
            run.map(([, play]) => play),
          ),
        );
        run.forEach(([key], index) => {
          batch.set(key, ids[index]!);
          this.#remember(key, ids[index]!);
        });
      };
      try {
        await learn(entries);
      } catch (error) {
        if (refusalOf(error) !== "value") throw error;
        for (const [[key], cause] of await isolateRefused(entries, learn)) refusedKeys.set(key, cause);
      }
    }

    const refused = new Map<number, unknown>();
    keys.forEach((key, index) => {
      if (refusedKeys.has(key)) refused.set(index, refusedKeys.get(key));
    });
    return { ids: keys.map((key) => batch.get(key)), refused };
  }

  /** Ids learnt so far may be wrong: look them up again. */
  forget(): void {
    this.#known.clear();
  }

  #remember(key: string, ids: CatalogueIds): void {
    if (key.length > REMEMBERED_LENGTH) return;
    // Dropping the oldest is enough: exports are in order of time, and so are their tracks.
    if (this.#known.size >= this.remembered) {
      const oldest = this.#known.keys().next();
      if (!oldest.done) this.#known.delete(oldest.value);
    }
    this.#known.set(key, ids);
  }
}

const rawKeyOf = (play: Description): string =>
  `${play.trackId === null ? "" : `${play.trackId.provider}:${play.trackId.id}`}\0${play.artist}\0${play.title}\0${play.album ?? ""}`;

/** In the order artists, tracks, external ids, albums, album tracks; see findOrCreate.ts. */
async function resolveAll(client: PoolClient, plays: readonly Description[]): Promise<CatalogueIds[]> {
  const named = plays.map((play) => ({ play, external: play.trackId }));
  const externals = new Map<string, ExternalId>();
  for (const { external } of named) {
    if (external !== null) externals.set(externalKeyOf(external), external);
  }
  const byExternal = await findTracksByExternalIds(client, [...externals.values()]);

  const byText = named.filter(
    ({ external }) => external === null || !byExternal.has(externalKeyOf(external)),
  );
  const artists = byText.map(({ play }) => ({ name: play.artist, key: nameKey(play.artist) }));
  const artistIds = await findOrCreateArtists(client, artists);
  const wanted = byText.map(({ play }, index): TrackWanted => {
    const artistKey = artists[index]!.key;
    return {
      artistId: artistIds.get(artistKey)!,
      title: play.title,
      titleKey: nameKey(play.title),
      albumKey: artistKey === UNKNOWN_ARTIST_KEY && play.album !== null ? nameKey(play.album) : "",
      looseKey: looseKey(play.artist, play.title),
      durationMs: play.durationMs,
    };
  });
  const trackIds = await findOrCreateTracks(client, wanted);
  const tracks = new Map<(typeof named)[number], TrackRef>();
  byText.forEach((entry, index) => {
    const track = wanted[index]!;
    tracks.set(entry, { trackId: trackIds.get(trackKeyOf(track))!, artistId: track.artistId });
  });

  // The first play of this batch that carries an unknown id decides; another import may have been quicker still.
  const fresh = new Map<string, ExternalId & { trackId: number }>();
  for (const entry of byText) {
    const { external } = entry;
    if (external === null || fresh.has(externalKeyOf(external))) continue;
    fresh.set(externalKeyOf(external), { ...external, trackId: tracks.get(entry)!.trackId });
  }
  await addExternalIds(client, [...fresh.values()]);
  const settled = await findTracksByExternalIds(client, [...fresh.values()]);
  for (const entry of named) {
    const key = entry.external === null ? null : externalKeyOf(entry.external);
    const strong = key === null ? undefined : (byExternal.get(key) ?? settled.get(key));
    if (strong !== undefined) tracks.set(entry, strong);
  }

  const onAlbum = named.flatMap((entry) =>
    entry.play.album === null
      ? []
      : [
          {
            entry,
            album: {
              artistId: tracks.get(entry)!.artistId,
              title: entry.play.album,
              titleKey: nameKey(entry.play.album),
            },
          },
        ],
  );
  const albumIds = await findOrCreateAlbums(
    client,
    onAlbum.map(({ album }) => album),
  );
  const albumOf = new Map(onAlbum.map(({ entry, album }) => [entry, albumIds.get(albumKeyOf(album))!]));
  await addAlbumTracks(
    client,
    [...albumOf].map(([entry, albumId]) => ({ albumId, trackId: tracks.get(entry)!.trackId })),
  );
  return named.map((entry) => ({ ...tracks.get(entry)!, albumId: albumOf.get(entry) ?? null }));
}
