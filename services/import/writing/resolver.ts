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
import type { AlbumWanted, ExternalTrackId, TrackRef, TrackWanted } from "../../catalog/findOrCreate.js";
import { looseKey, nameKey } from "../../catalog/keys.js";
import { shareCatalogue } from "../../catalog/lock.js";
import { ByDescription, lengthOf } from "./descriptions.js";
import type { Description } from "./descriptions.js";
import { inTransaction } from "../../../db/transaction.js";
import { ownText } from "../../../utils/ownText.js";
import { isolateRefused, refusalOf } from "./refusals.js";

export interface CatalogueIds {
  readonly trackId: number;
  readonly artistId: number;
  readonly albumId: number | null;
}

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

/** A description that is not in memory, and what the catalogue made of it. */
interface Miss {
  readonly play: Description;
  ids?: CatalogueIds;
}

/**
 * One for all imports of a process: the catalogue is shared, and its ids are stable, except across a merge. Then
 * a batch is refused by a foreign key, and `forget` is the cure.
 */
export class CatalogueResolver {
  readonly #known = new ByDescription<CatalogueIds>();

  constructor(
    private readonly pool: Pool,
    private readonly remembered = REMEMBERED,
  ) {}

  /** Rows it creates are committed when it returns. One that no play comes to use is harmless. */
  async resolve(plays: readonly Description[]): Promise<Resolution> {
    const misses = new ByDescription<Miss>();
    const open: Miss[] = [];
    const places = plays.map((play): CatalogueIds | Miss => {
      const known = this.#known.get(play) ?? misses.get(play);
      if (known !== undefined) return known;
      const miss = { play };
      misses.add(play, miss);
      open.push(miss);
      return miss;
    });
    const causes = await this.#learn(open);
    const refused = new Map<number, unknown>();
    const ids = places.map((place, index) => {
      if (!("play" in place)) return place;
      if (causes.has(place)) refused.set(index, causes.get(place));
      return place.ids;
    });
    return { ids, refused };
  }

  /** Ids learnt so far may be wrong: look them up again. */
  forget(): void {
    this.#known.clear();
  }

  /** Gives every miss its ids, but for those the database refuses, which are returned with the error. */
  async #learn(misses: readonly Miss[]): Promise<ReadonlyMap<Miss, unknown>> {
    const learn = async (run: readonly Miss[]): Promise<void> => {
      const plays = run.map(({ play }) => play);
      const ids = await inTransaction(this.pool, (client) => resolveAll(client, plays));
      run.forEach((miss, index) => {
        miss.ids = ids[index]!;
        this.#remember(miss.play, miss.ids);
      });
    };
    if (misses.length === 0) return new Map();
    try {
      await learn(misses);
      return new Map();
    } catch (error) {
      if (refusalOf(error) !== "value") throw error;
      return isolateRefused(misses, learn);
    }
  }

  #remember(play: Description, ids: CatalogueIds): void {
    if (lengthOf(play) > REMEMBERED_LENGTH) return;
    // Dropping the oldest is enough: exports are in order of time, and so are their tracks.
    if (this.#known.size >= this.remembered) this.#known.dropOldest();
    this.#known.add(ownDescription(play), ids);
  }
}

/** Holds none of the text that the play was read with. */
const ownDescription = ({ artist, title, album, trackId, durationMs }: Description): Description => ({
  artist: ownText(artist),
  title: ownText(title),
  album: album === null ? null : ownText(album),
  trackId: trackId === null ? null : { provider: trackId.provider, id: ownText(trackId.id) },
  durationMs,
});

/** A description on its way into the catalogue. */
interface Entry {
  readonly play: Description;
  /** Key of the strong id. */
  readonly external: string | null;
  track: TrackRef | null;
}

/** In the order artists, tracks, external ids, albums, album tracks; see findOrCreate.ts. */
async function resolveAll(client: PoolClient, plays: readonly Description[]): Promise<CatalogueIds[]> {
  await shareCatalogue(client);
  const entries = plays.map((play): Entry => ({
    play,
    external: play.trackId === null ? null : externalKeyOf(play.trackId),
    track: null,
  }));
  await placeByExternalIds(client, entries);
  const open = entries.filter(({ track }) => track === null);
  if (open.length > 0) {
    await placeByTexts(client, open);
    await nameTracks(client, open);
  }
  const albumIds = await placeOnAlbums(client, entries);
  return entries.map(({ track }, index) => ({ ...track!, albumId: albumIds[index] ?? null }));
}

async function placeByExternalIds(client: PoolClient, entries: readonly Entry[]): Promise<void> {
  const wanted = new Map<string, ExternalTrackId>();
  for (const { external, play } of entries) if (external !== null) wanted.set(external, play.trackId!);
  const found = await findTracksByExternalIds(client, [...wanted.values()]);
  if (found.size === 0) return;
  for (const entry of entries) {
    if (entry.external !== null) entry.track = found.get(entry.external) ?? null;
  }
}

async function placeByTexts(client: PoolClient, entries: readonly Entry[]): Promise<void> {
  const artists = entries.map(({ play: { artist } }) => ({ name: artist, key: nameKey(artist) }));
  const artistIds = await findOrCreateArtists(client, artists);
  const wanted = entries.map(({ play }, index): TrackWanted => {
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
  const tracks = await findOrCreateTracks(client, wanted);
  for (const [index, entry] of entries.entries()) entry.track = tracks.get(trackKeyOf(wanted[index]!))!;
}

/** Of entries with the same unknown id the first decides; another import may have been quicker still. */
async function nameTracks(client: PoolClient, entries: readonly Entry[]): Promise<void> {
  const fresh = new Map<string, Entry>();
  for (const entry of entries) {
    if (entry.external !== null && !fresh.has(entry.external)) fresh.set(entry.external, entry);
  }
  const wanted = [...fresh.values()].map(({ play, track }) => ({
    provider: play.trackId!.provider,
    id: play.trackId!.id,
    trackId: track!.trackId,
  }));
  const first = await addExternalIds(client, wanted);
  const lost = first ? undefined : await findTracksByExternalIds(client, wanted);
  for (const entry of entries) {
    if (entry.external === null) continue;
    entry.track = lost?.get(entry.external) ?? fresh.get(entry.external)!.track;
  }
}

/** The albums' ids by index of the entry; undefined where the entry names none. */
async function placeOnAlbums(client: PoolClient, entries: readonly Entry[]): Promise<(number | undefined)[]> {
  const wanted = entries.map(({ play: { album }, track }): AlbumWanted | null =>
    album === null ? null : { artistId: track!.artistId, title: album, titleKey: nameKey(album) },
  );
  const ids = await findOrCreateAlbums(
    client,
    wanted.filter((album) => album !== null),
  );
  const albumIds = wanted.map((album) => (album === null ? undefined : ids.get(albumKeyOf(album))));
  await addAlbumTracks(
    client,
    entries.flatMap(({ track }, index) => {
      const albumId = albumIds[index];
      return albumId === undefined ? [] : [{ albumId, trackId: track!.trackId }];
    }),
  );
  return albumIds;
}
