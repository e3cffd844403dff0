/** The shared catalogue of artists, albums and tracks: read by everybody, added to by anybody, changed by editors. */
import type pg from "pg";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { announceChange, CATALOGUE, LISTINGS } from "../../db/queries/cacheVersions.js";
import {
  type AlbumDetail,
  type AlbumSummary,
  type ArtistDetail,
  type ArtistSummary,
  readAlbum,
  readAlbums,
  readArtist,
  readArtists,
  readTrack,
  readTracks,
  type TrackDetail,
} from "../../db/queries/catalogue.js";
import type { Reads } from "../../db/replica.js";
import { inTransaction } from "../../db/transaction.js";
import { createAlbum, createArtist, createTrack, type Creation } from "./creating.js";
import { type Check, editAlbum, editArtist, editTrack } from "./editing.js";
import type { AlbumFields, ArtistChoice, ArtistFields, TrackFields } from "./fields.js";
import { listCatalogue, type CatalogueQuery, type CataloguePage } from "./listing.js";
import { lockCatalogueAlone, shareCatalogue } from "./lock.js";
import { ALBUM_MERGE, ARTIST_MERGE, merge, type Mergeable, TRACK_MERGE } from "./merging.js";
import { PLAYS_AT_ONCE } from "./movingPlays.js";
import { type Found, movedFrom } from "./references.js";

export interface Created<T> {
  readonly item: T;
  /** False: it was there already, and is as it was. */
  readonly created: boolean;
}

export interface CatalogueServiceOptions {
  readonly pool: pg.Pool;
  readonly reads: Reads;
  /** How many plays a merge moves in one transaction, about. */
  readonly playsAtOnce?: number;
}

type Read<T> = (client: pg.Pool | pg.PoolClient, id: number) => Promise<T | null>;

/** What everything here can have changed by. */
const SCOPES = [CATALOGUE, LISTINGS] as const;

/**
 * `find`, `edit` and `merge` give `Moved` for what was merged into another one, and throw `NotFoundError` for what never
 * was. `check` is asked inside the transaction of a change, with what is there, and throws to refuse it.
 */
export class CatalogueService {
  readonly #pool: pg.Pool;
  readonly #reads: Reads;
  readonly #playsAtOnce: number;

  constructor({ pool, reads, playsAtOnce = PLAYS_AT_ONCE }: CatalogueServiceOptions) {
    this.#pool = pool;
    this.#reads = reads;
    this.#playsAtOnce = playsAtOnce;
  }

  listArtists(query: CatalogueQuery): Promise<CataloguePage<ArtistSummary>> {
    return this.#reads.run(SCOPES, (pool) => listCatalogue(pool, "artist", query, readArtists));
  }

  listAlbums(query: CatalogueQuery): Promise<CataloguePage<AlbumSummary>> {
    return this.#reads.run(SCOPES, (pool) => listCatalogue(pool, "album", query, readAlbums));
  }

  listTracks(query: CatalogueQuery): Promise<CataloguePage<TrackDetail>> {
    return this.#reads.run(SCOPES, (pool) => listCatalogue(pool, "track", query, readTracks));
  }

  findArtist(id: number): Promise<Found<ArtistDetail>> {
    return this.#find("artist", id, readArtist);
  }

  findAlbum(id: number): Promise<Found<AlbumDetail>> {
    return this.#find("album", id, readAlbum);
  }

  findTrack(id: number): Promise<Found<TrackDetail>> {
    return this.#find("track", id, readTrack);
  }

  /** Throws `ConflictError` (`taken`) when a strong id belongs to another one than the name. */
  createArtist(fields: ArtistFields): Promise<Created<ArtistDetail>> {
    return this.#create(readArtist, (client) => createArtist(client, fields));
  }

  /** Throws as `createArtist`, and `ValidationError` for an artist or a track that is not there. */
  createAlbum(fields: AlbumFields & ArtistChoice): Promise<Created<AlbumDetail>> {
    return this.#create(readAlbum, (client) => createAlbum(client, fields));
  }

  /** Throws as `createAlbum`. */
  createTrack(fields: TrackFields & ArtistChoice): Promise<Created<TrackDetail>> {
    return this.#create(readTrack, (client) => createTrack(client, fields));
  }

  /** Fields that are absent stay. Throws `ConflictError` (`taken`, `reserved`), `ValidationError`. */
  editArtist(
    id: number,
    changes: Partial<ArtistFields>,
    check: Check<ArtistDetail>,
  ): Promise<Found<ArtistDetail>> {
    return this.#alone((client) => editArtist(client, id, changes, check));
  }

  editAlbum(
    id: number,
    changes: Partial<AlbumFields>,
    check: Check<AlbumDetail>,
  ): Promise<Found<AlbumDetail>> {
    return this.#alone((client) => editAlbum(client, id, changes, check));
  }

  editTrack(
    id: number,
    changes: Partial<TrackFields>,
    check: Check<TrackDetail>,
  ): Promise<Found<TrackDetail>> {
    return this.#alone((client) => editTrack(client, id, changes, check));
  }

  /** Gives the one that stays, `into`. Throws `ValidationError` when that is not there, `ConflictError` (`reserved`). */
  mergeArtist(id: number, into: number, check: Check<ArtistDetail>): Promise<Found<ArtistDetail>> {
    return this.#merge({ ...ARTIST_MERGE, read: readArtist }, id, into, check);
  }

  mergeAlbum(id: number, into: number, check: Check<AlbumDetail>): Promise<Found<AlbumDetail>> {
    return this.#merge({ ...ALBUM_MERGE, read: readAlbum }, id, into, check);
  }

  mergeTrack(id: number, into: number, check: Check<TrackDetail>): Promise<Found<TrackDetail>> {
    return this.#merge({ ...TRACK_MERGE, read: readTrack }, id, into, check);
  }

  /** What an import has just added is announced to nobody: a replica may not have it yet. */
  async #find<T>(entity: CatalogueEntity, id: number, read: Read<T>): Promise<Found<T>> {
    const found = await this.#reads.run(SCOPES, (pool) => read(pool, id));
    return found ?? (await read(this.#pool, id)) ?? movedFrom(this.#pool, entity, id);
  }

  #create<T>(read: Read<T>, create: (client: pg.PoolClient) => Promise<Creation>): Promise<Created<T>> {
    return inTransaction(this.#pool, async (client) => {
      await shareCatalogue(client);
      const { id, created } = await create(client);
      const item = await read(client, id);
      if (item === null) throw new Error("What was created is not there");
      if (created) await announceChange(client, LISTINGS);
      return { item, created };
    });
  }

  #merge<T>(kind: Mergeable<T>, id: number, into: number, check: Check<T>): Promise<Found<T>> {
    return merge(this.#pool, kind, { id, into, atOnce: this.#playsAtOnce }, check);
  }

  #alone<T>(edit: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    return inTransaction(this.#pool, async (client) => {
      await lockCatalogueAlone(client);
      return edit(client);
    });
  }
}
