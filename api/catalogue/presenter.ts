/** Artists, albums and tracks as JSON. What the database keeps beside these fields never leaves by itself. */
import type {
  AlbumDetail,
  AlbumSummary,
  ArtistDetail,
  ArtistSummary,
  ExternalIdView,
  NamedArtist,
  TrackDetail,
} from "../../db/queries/catalogue.js";

/** How one kind is shown, and what of it an editor can change: popularity moves by itself, and others add to lists. */
export interface Form<T> {
  readonly present: (item: T) => unknown;
  readonly editable: (item: T) => unknown;
}

const externalIdsOf = (ids: readonly ExternalIdView[]) => ids.map(({ provider, id }) => ({ provider, id }));
const named = ({ id, name }: NamedArtist) => ({ id, name });

export const presentArtistSummary = ({ id, name, country, externalIds, popularity }: ArtistSummary) => ({
  id,
  name,
  country,
  externalIds: externalIdsOf(externalIds),
  popularity,
});

export const presentArtist = (artist: ArtistDetail) => ({
  ...presentArtistSummary(artist),
  albums: artist.albums.map(({ id, title, releaseDate }) => ({ id, title, releaseDate })),
  topTracks: artist.topTracks.map(({ id, title, durationMs, popularity }) => ({
    id,
    title,
    durationMs,
    popularity,
  })),
});

export const presentAlbumSummary = ({ id, title, artist, releaseDate, externalIds }: AlbumSummary) => ({
  id,
  title,
  artist: named(artist),
  releaseDate,
  externalIds: externalIdsOf(externalIds),
});

export const presentAlbum = ({ id, title, artist, releaseDate, tracks, externalIds }: AlbumDetail) => ({
  id,
  title,
  artist: named(artist),
  releaseDate,
  tracks: tracks.map((track) => ({
    id: track.id,
    title: track.title,
    disc: track.disc,
    position: track.position,
    durationMs: track.durationMs,
  })),
  externalIds: externalIdsOf(externalIds),
});

export const presentTrack = (track: TrackDetail) => ({
  id: track.id,
  title: track.title,
  durationMs: track.durationMs,
  isrc: track.isrc,
  artist: named(track.artist),
  artists: track.artists.map(({ id, name, role }) => ({ id, name, role })),
  albums: track.albums.map(({ id, title, disc, position }) => ({ id, title, disc, position })),
  externalIds: externalIdsOf(track.externalIds),
  popularity: track.popularity,
});

export const ARTIST: Form<ArtistDetail> = {
  present: presentArtist,
  editable: ({ name, country, externalIds }) => ({ name, country, externalIds: externalIdsOf(externalIds) }),
};

export const ALBUM: Form<AlbumDetail> = { present: presentAlbum, editable: presentAlbum };

export const TRACK: Form<TrackDetail> = {
  present: presentTrack,
  editable: (track) => {
    const { title, durationMs, isrc, artist, artists, externalIds } = presentTrack(track);
    return { title, durationMs, isrc, artist, artists, externalIds };
  },
};
