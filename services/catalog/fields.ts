/** What clients may say of an artist, an album or a track. */
import type { CreditRole } from "../../db/models/enums.js";
import type { ExternalIdView, Place } from "../../db/queries/catalogue.js";

export interface ArtistFields {
  readonly name: string;
  readonly country: string | null;
  readonly externalIds: readonly ExternalIdView[];
}

export interface AlbumFields {
  readonly title: string;
  /** `YYYY`, `YYYY-MM` or `YYYY-MM-DD`. */
  readonly releaseDate: string | null;
  /** Places of tracks. Those that are not named stay on the album, without a place: plays may stand there. */
  readonly tracks: readonly (Place & { readonly id: number })[];
  readonly externalIds: readonly ExternalIdView[];
}

export interface TrackFields {
  readonly title: string;
  readonly durationMs: number | null;
  readonly isrc: string | null;
  /** Credits in order; none: the track's artist alone. */
  readonly artists: readonly { readonly id: number; readonly role: CreditRole }[];
  readonly externalIds: readonly ExternalIdView[];
}

/** Whose a new album or track is. A name is found or created. */
export type ArtistChoice = { readonly artistId: number } | { readonly artist: string };

export const EXTERNAL_ID_PATH = (index: number): string => `externalIds.${index}`;

/**
 * An ISRC is shown as a field and is one of the track's strong ids as well. Gives the ids with it, and where in the
 * input each of them stands.
 */
export function withIsrc(
  externalIds: readonly ExternalIdView[],
  isrc: string | null,
): { readonly ids: readonly ExternalIdView[]; readonly pathOf: (index: number) => string } {
  const known = isrc === null || externalIds.some(({ provider, id }) => provider === "isrc" && id === isrc);
  return {
    ids: known ? externalIds : [...externalIds, { provider: "isrc", id: isrc }],
    pathOf: (index) => (index < externalIds.length ? EXTERNAL_ID_PATH(index) : "isrc"),
  };
}
