/** Which row of the catalogue a play belongs to: looked up by id, or found or created by names as an import does. */
import type pg from "pg";
import type { ErrorDetail } from "../../utils/errors.js";
import { addExternalIds, externalKeyOf, findTracksByExternalIds } from "../catalog/findOrCreate.js";
import { shareCatalogue } from "../catalog/lock.js";
import type { ExternalId } from "../import/types.js";
import type { Description } from "../import/writing/descriptions.js";
import { type CatalogueIds, CatalogueResolver } from "../import/writing/resolver.js";
import { inTransaction } from "../../db/transaction.js";
import { complaintOf } from "../import/writing/refusals.js";
import { placeOnAlbums, tracksById, unknownId } from "./choices.js";
import type { TrackChoice, TrackNames } from "./manualPlays.js";
import { catalogueMoved } from "./userPlays.js";

/** Where a play belongs, with the names of the track as the catalogue has them. */
export interface Place extends CatalogueIds {
  readonly artist: string;
  readonly title: string;
}

export interface Misplaced {
  readonly problem: ErrorDetail;
}

export type Placed = { readonly place: Place } | Misplaced;

export interface Wanted {
  /** Where in the input it stands; see ManualPlay. */
  readonly path: string;
  readonly what: TrackChoice;
}

const TRIES = 3;

export class Places {
  readonly #pool: pg.Pool;
  readonly #resolver: CatalogueResolver;

  constructor(pool: pg.Pool) {
    this.#pool = pool;
    this.#resolver = new CatalogueResolver(pool, 0);
  }

  /**
   * Runs `write` with a place for each that is wanted, or what is wrong with it, in order. Again from the start when
   * what was found is merged into something else before it is written.
   */
  async with<T>(wanted: readonly Wanted[], write: (placed: readonly Placed[]) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await write(wanted.length === 0 ? [] : await this.#find(wanted));
      } catch (error) {
        if (attempt >= TRIES || !catalogueMoved(error)) throw error;
        this.#resolver.forget();
      }
    }
  }

  async #find(wanted: readonly Wanted[]): Promise<Placed[]> {
    const found = await this.#resolve(wanted);
    const ids = found.flatMap((each) => ("problem" in each ? [] : [each.trackId]));
    return this.#inCatalogue(async (client) => {
      const tracks = await tracksById(client, ids);
      const placed = found.map((each, index): Placed => {
        if ("problem" in each) return each;
        const track = tracks.get(each.trackId);
        if (track === undefined) return { problem: unknownId(`${wanted[index]!.path}trackId`, "track") };
        return { place: { ...track, albumId: each.albumId } };
      });
      return checkAlbums(client, wanted, placed);
    });
  }

  /** Ids as given, and those of names. */
  async #resolve(
    wanted: readonly Wanted[],
  ): Promise<(Pick<CatalogueIds, "trackId" | "albumId"> | Misplaced)[]> {
    const named = wanted.flatMap(({ what }, index) =>
      "track" in what ? [{ index, names: what.track }] : [],
    );
    const ids = await this.#chooseIds(named.map(({ names }) => names));
    const descriptions = named.map(({ names: { artist, title, album, durationMs } }, n): Description => ({
      ...{ artist, title, album, durationMs },
      trackId: ids[n]!.deciding,
    }));
    const resolution = await this.#resolver.resolve(descriptions);
    await this.#noteIds(
      ids.flatMap(({ other }, n) => {
        const trackId = resolution.ids[n]?.trackId;
        return other === null || trackId === undefined ? [] : [{ ...other, trackId }];
      }),
    );
    const placeOf = new Map(named.map(({ index }, n) => [index, n]));
    return wanted.map(({ path, what }, index) => {
      if ("trackId" in what) return what;
      const n = placeOf.get(index)!;
      const found = resolution.ids[n];
      if (found !== undefined) return found;
      const message = `${path}track is refused: ${complaintOf(resolution.refused.get(n))}`;
      return { problem: { path: `${path}track`, code: "database", message } };
    });
  }

  /** Of two strong ids the one that is known decides, Spotify's when both are or none is; the other one is noted. */
  async #chooseIds(
    tracks: readonly TrackNames[],
  ): Promise<{ readonly deciding: ExternalId | null; readonly other: ExternalId | null }[]> {
    const pairs = tracks.map(({ spotifyId, isrc }) => ({
      spotify: spotifyId === null ? null : ({ provider: "spotify", id: spotifyId } as const),
      isrc: isrc === null ? null : ({ provider: "isrc", id: isrc } as const),
    }));
    const asked = pairs.flatMap(({ spotify, isrc }) =>
      spotify === null || isrc === null ? [] : [spotify, isrc],
    );
    const known =
      asked.length === 0
        ? new Map<string, unknown>()
        : await this.#inCatalogue((client) => findTracksByExternalIds(client, asked));
    return pairs.map(({ spotify, isrc }) => {
      if (spotify === null || isrc === null) return { deciding: spotify ?? isrc, other: null };
      const byIsrc = known.has(externalKeyOf(isrc)) && !known.has(externalKeyOf(spotify));
      return byIsrc ? { deciding: isrc, other: spotify } : { deciding: spotify, other: isrc };
    });
  }

  /** Ids that have a track already keep it. */
  async #noteIds(ids: readonly (ExternalId & { readonly trackId: number })[]): Promise<void> {
    if (ids.length > 0) await this.#inCatalogue((client) => addExternalIds(client, ids));
  }

  #inCatalogue<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    return inTransaction(this.#pool, async (client) => {
      await shareCatalogue(client);
      return work(client);
    });
  }
}

/** Plays of tracks that were chosen by id go on the album that was chosen with it. */
async function checkAlbums(
  client: pg.PoolClient,
  wanted: readonly Wanted[],
  placed: readonly Placed[],
): Promise<Placed[]> {
  const chosen = placed.flatMap((each, index) => {
    const { what, path } = wanted[index]!;
    if ("problem" in each || "track" in what || what.albumId === null) return [];
    const { trackId, artistId } = each.place;
    return [{ index, place: each.place, choice: { path, albumId: what.albumId, trackId, artistId } }];
  });
  if (chosen.length === 0) return [...placed];
  const albums = await placeOnAlbums(
    client,
    chosen.map(({ choice }) => choice),
  );
  const result = [...placed];
  for (const [n, { index, place }] of chosen.entries()) {
    const album = albums[n]!;
    result[index] = "problem" in album ? album : { place: { ...place, albumId: album.albumId } };
  }
  return result;
}
