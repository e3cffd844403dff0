/** Plays that somebody tells us of, one by one or in a list, in place of a file: what may be said, and what it makes. */
import type { PlayedTime } from "./listenRule.js";

/** Names of a track as the caller knows them. */
export interface TrackNames {
  readonly title: string;
  readonly artist: string;
  readonly album: string | null;
  readonly durationMs: number | null;
  /** Upper case. */
  readonly isrc: string | null;
  /** 22 characters, without `spotify:track:`. */
  readonly spotifyId: string | null;
}

/** What was played: a track of the catalogue, on one of its albums or on none, or one that is found or created by names. */
export type TrackChoice =
  { readonly trackId: number; readonly albumId: number | null } | { readonly track: TrackNames };

export interface ManualPlay {
  /** Where in the input it stands, for errors: empty, or like `listens.3.`. */
  readonly path: string;
  /** Start of the play. */
  readonly playedAt: Date;
  readonly msPlayed: number | null;
  readonly what: TrackChoice;
}

/** What a correction changes; fields that are absent stay as they are. */
export interface PlayChanges {
  readonly playedAt?: Date;
  readonly msPlayed?: number | null;
  readonly what?: TrackChoice;
  /** Nothing was said of the album: should `what` be the track that it is, it stays on the album that it is on. */
  readonly sameAlbum?: boolean;
  /** Only without `what`, which names the album as well. Null: on no album. */
  readonly albumId?: number | null;
}

const EARLIEST_MS = Date.UTC(2000, 0, 1);
const CLOCK_TOLERANCE_MS = 60 * 60 * 1000;

/** Whether a play can have begun then: since 2000, and at most an hour from now by a clock that is fast. */
export const isPossibleStart = (playedAt: Date, now = Date.now()): boolean =>
  playedAt.getTime() >= EARLIEST_MS && playedAt.getTime() <= now + CLOCK_TOLERANCE_MS;

/** Two clocks that tell of one play may differ by this much. */
const CLOCK_SLACK_MS = 2000;

export interface StartRange {
  readonly startEarliest: Date;
  readonly startLatest: Date;
}

/** In which range the start lies that somebody has told to the second. */
export const startRange = (playedAt: Date): StartRange => ({
  startEarliest: new Date(playedAt.getTime() - CLOCK_SLACK_MS),
  startLatest: new Date(playedAt.getTime() + CLOCK_SLACK_MS),
});

/** Lengths as the listen rule wants them: the duration is this play's own, never the catalogue's. */
export const playedTime = ({ msPlayed, what }: Pick<ManualPlay, "msPlayed" | "what">): PlayedTime => ({
  msPlayed,
  durationMs: "track" in what ? what.track.durationMs : null,
});
