/** Bodies as the domain knows them. */
import Joi from "joi";
import type { ManualPlay, PlayChanges, TrackChoice } from "../../../services/history/manualPlays.js";
import { type ErrorDetail, ValidationError } from "../../../utils/errors.js";
import { validate } from "../../middleware/validation.js";
import { type ListenBody, listenBody, type TrackBody } from "./writeSchema.js";

export const toPlay = (body: ListenBody, path = ""): ManualPlay => ({
  path,
  playedAt: body.playedAt,
  msPlayed: body.msPlayed ?? null,
  what: choiceOf(body) as TrackChoice, // the schema asks for one of the two
});

export function toReplacement(body: ListenBody): PlayChanges {
  const { playedAt, msPlayed, what } = toPlay(body);
  return { playedAt, msPlayed, what };
}

export function toChanges(body: Partial<ListenBody>): PlayChanges {
  const { playedAt, msPlayed, trackId, albumId } = body;
  const what = choiceOf(body);
  return {
    ...(playedAt === undefined ? {} : { playedAt }),
    ...(msPlayed === undefined ? {} : { msPlayed }),
    ...(what === undefined ? {} : { what }),
    ...(trackId === undefined || albumId !== undefined ? {} : { sameAlbum: true }),
    ...(what !== undefined || albumId === undefined ? {} : { albumId }),
  };
}

function choiceOf({ track, trackId, albumId = null }: Partial<ListenBody>): TrackChoice | undefined {
  if (track !== undefined) return { track: namesOf(track) };
  return trackId === undefined ? undefined : { trackId, albumId };
}

const namesOf = ({ title, artist, album, durationMs, isrc, spotifyId }: TrackBody) => ({
  title,
  artist,
  album: album ?? null,
  durationMs: durationMs ?? null,
  isrc: isrc?.toUpperCase() ?? null,
  spotifyId: spotifyId ?? null,
});

/** An item of a list of plays: what it tells, or everything that is wrong with it. */
export type JudgedListen =
  | { readonly index: number; readonly play: ManualPlay }
  | { readonly index: number; readonly errors: readonly ErrorDetail[] };

const single = Joi.object<{ listens: Readonly<Record<string, ListenBody>> }>({
  listens: Joi.object().pattern(/^\d+$/, listenBody),
});

/** Problems are named as in the whole list: `listens.3.playedAt`. */
export function judgeListen(item: unknown, index: number): JudgedListen {
  const path = `listens.${index}`;
  if (hasManyFields(item)) {
    const message = `${path} has far more fields than a play`;
    return { index, errors: [{ path, code: "too_many", message }] };
  }
  try {
    const { listens } = validate(single, { listens: { [index]: item } }, "request body");
    return { index, play: toPlay(listens[index] as ListenBody, `${path}.`) };
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error;
    return { index, errors: error.details };
  }
}

/** Naming a million unknown fields would keep the process busy for seconds. */
const MANY_FIELDS = 50;

function hasManyFields(item: unknown): boolean {
  if (!isObject(item)) return false;
  const values: unknown[] = Object.values(item).slice(0, MANY_FIELDS);
  return [item, ...values].some((value) => fieldsOf(value) > MANY_FIELDS);
}

const fieldsOf = (value: unknown): number => (isObject(value) ? Object.keys(value).length : 0);

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
