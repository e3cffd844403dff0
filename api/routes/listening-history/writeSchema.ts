/** Declarations of the endpoints that change a history, and the bodies they take. */
import Joi from "joi";
import { isPossibleStart } from "../../../services/history/manualPlays.js";
import { endpoint } from "../../middleware/endpoint.js";
import { id, idParam, instant, text } from "../../schemas.js";
import { listenView } from "./view.js";

const PATH = "/api/v1/listening-history";
const NAME_MAX_BYTES = 4096;
/** PostgreSQL's integer, which stores milliseconds: 24 days. */
const MAX_MILLISECONDS = 2 ** 31 - 1;
export const BATCH_MAX_LISTENS = 1000;
const BATCH_MAX_BYTES = 8 * 1024 * 1024;

export interface TrackBody {
  readonly title: string;
  readonly artist: string;
  readonly album?: string | null;
  readonly durationMs?: number | null;
  readonly isrc?: string | null;
  readonly spotifyId?: string | null;
}

/** Either `track`, or `trackId` and perhaps `albumId`. */
export interface ListenBody {
  readonly playedAt: Date;
  readonly msPlayed?: number | null;
  readonly trackId?: number;
  readonly albumId?: number | null;
  readonly track?: TrackBody;
}

const name = (): Joi.StringSchema => text(NAME_MAX_BYTES).pattern(/\S/, "text that is more than spaces");
const milliseconds = (least: number): Joi.NumberSchema =>
  Joi.number().integer().min(least).max(MAX_MILLISECONDS).allow(null);

const playedAt = (): Joi.DateSchema =>
  instant()
    .custom((value: Date, helpers) => (isPossibleStart(value) ? value : helpers.error("instant.range")))
    .description("Start of the play, with offset; from 2000-01-01 to an hour from now");
const msPlayed = (): Joi.NumberSchema =>
  milliseconds(0).description("Milliseconds of audio played; null or absent where that is not known");
const trackId = (): Joi.NumberSchema => id().description("A track of the catalogue; or else `track`");
const albumId = (): Joi.NumberSchema =>
  id()
    .allow(null)
    .description(
      "An album that lists the track, or another one of its artist; null: on none. Not beside `track`",
    );
const track = (): Joi.ObjectSchema =>
  Joi.object({
    title: name().required(),
    artist: name().required(),
    album: name().allow(null).description("An album of this artist"),
    durationMs: milliseconds(1).description("Length of the recording"),
    isrc: Joi.string()
      .pattern(/^[A-Za-z]{2}[A-Za-z0-9]{3}\d{7}$/, "an ISRC, like USRC17607839")
      .allow(null),
    spotifyId: Joi.string()
      .pattern(/^[0-9A-Za-z]{22}$/, "the 22 characters of a Spotify track id")
      .allow(null),
  }).description(
    "A track by its names, which is found, or created when nobody has named it before; a known id beats names. Or else `trackId`",
  );

export const listenBody = Joi.object<ListenBody>({
  playedAt: playedAt().required(),
  msPlayed: msPlayed(),
  trackId: trackId(),
  albumId: albumId(),
  track: track(),
})
  .xor("trackId", "track")
  .oxor("albumId", "track");

const patchBody = Joi.object<Partial<ListenBody>>({
  playedAt: playedAt(),
  msPlayed: msPlayed(),
  trackId: trackId(),
  albumId: albumId(),
  track: track(),
})
  .min(1)
  .oxor("trackId", "track")
  .oxor("albumId", "track");

/**
 * A list of anything, for each item has a verdict of its own; nothing looks at each of the four million that fit into a
 * body. The document shows what they should be.
 */
function judgedLater(item: Joi.Schema): Joi.ArraySchema {
  const items = item["~standard"].jsonSchema.input({ target: "draft-2020-12" });
  const types = Joi.extend({
    type: "judgedLater",
    base: Joi.array(),
    jsonSchema: (_schema: unknown, result: object) => ({
      ...result,
      ...{ type: "array", items, maxItems: BATCH_MAX_LISTENS },
    }),
  } as Joi.Extension) as { judgedLater(): Joi.ArraySchema }; // as in api/schemas.ts
  return types.judgedLater();
}

const batchBody = Joi.object<{ listens: readonly unknown[] }>({
  listens: judgedLater(listenBody)
    .max(BATCH_MAX_LISTENS)
    .required()
    .description("Plays as for POST /listening-history, at most 1,000"),
});

const params = Joi.object<{ id: number }>({ id: idParam().required() });
const tags = ["listening-history"];
const sent = { description: "The play", schema: listenView, headers: { ETag: "For If-Match" } };
const NOT_THERE = "No such play, or not one of the caller's";

export const recordListen = endpoint({
  method: "post",
  path: PATH,
  operationId: "recordListen",
  summary: "Record a play",
  description:
    "The same play sent again is the first: same track, same start to the millisecond. A play that was deleted before " +
    "is recorded again.",
  tags,
  auth: "user",
  body: listenBody,
  changes: true,
  responses: {
    200: { ...sent, description: "It was there already, as it is now" },
    201: { ...sent, description: "Recorded", headers: { ...sent.headers, Location: "Address of the play" } },
  },
});

const count = (): Joi.NumberSchema => Joi.number().integer().min(0).required();

export const recordListens = endpoint({
  method: "post",
  path: `${PATH}/batch`,
  operationId: "recordListens",
  summary: "Record up to 1,000 plays",
  description:
    "Each play has its own verdict: good ones are recorded whatever is wrong with others, all in one transaction. " +
    "A play that is there, or stands in the list before, is a duplicate with the id of the first. One that its owner " +
    "deleted stays deleted: a duplicate without id. Sending the same list again changes nothing.",
  tags,
  auth: "user",
  body: batchBody,
  bodyMaxBytes: BATCH_MAX_BYTES,
  changes: true,
  responses: {
    200: {
      description: "A verdict for each play, in order",
      schema: Joi.object({
        counts: Joi.object({
          read: count(),
          created: count(),
          duplicate: count(),
          rejected: count(),
        }).required(),
        data: Joi.array()
          .items(
            Joi.object({
              index: count().description("Place in `listens`, from 0"),
              status: Joi.string().valid("created", "duplicate", "rejected").required(),
              id: id().description("The play; absent when it was rejected, or deleted by its owner"),
              errors: Joi.array()
                .items(
                  Joi.object({
                    path: Joi.string().required().description("Like `listens.3.playedAt`"),
                    code: Joi.string().required(),
                    message: Joi.string().required(),
                  }),
                )
                .description("Only when it was rejected"),
            }),
          )
          .required(),
      }),
    },
  },
});

export const replaceListen = endpoint({
  method: "put",
  path: `${PATH}/:id`,
  operationId: "replaceListen",
  summary: "Correct a play",
  description:
    "Sets start, milliseconds played, track and album; what is left out becomes null. The play stays the one its source " +
    "told of: a file that brings it again changes nothing.",
  tags,
  auth: "user",
  params,
  body: listenBody,
  conditional: true,
  changes: true,
  responses: { 200: sent },
  errors: { 404: NOT_THERE },
});

export const changeListen = endpoint({
  method: "patch",
  path: `${PATH}/:id`,
  operationId: "changeListen",
  summary: "Correct some of a play",
  description:
    "As PUT, for the fields that are given. Another track means another album: the one named with it, or none; the track " +
    "that it is, by its id alone, changes nothing.",
  tags,
  auth: "user",
  params,
  body: patchBody,
  conditional: true,
  changes: true,
  responses: { 200: sent },
  errors: { 404: NOT_THERE },
});

export const deleteListen = endpoint({
  method: "delete",
  path: `${PATH}/:id`,
  operationId: "deleteListen",
  summary: "Delete a play",
  description:
    "With all its other sightings, whichever of them this one is. No import or sync brings them back; to record the play " +
    "by hand does.",
  tags,
  auth: "user",
  params,
  conditional: true,
  changes: true,
  responses: { 204: { description: "Deleted" } },
  errors: { 404: NOT_THERE },
});

export const unlinkListen = endpoint({
  method: "post",
  path: `${PATH}/:id/unlink`,
  operationId: "unlinkListen",
  summary: "Say that a play is one of its own",
  description:
    "For a play that was taken for another sighting of one (`duplicateOf`). The two are never linked again.",
  tags,
  auth: "user",
  params,
  conditional: true,
  changes: true,
  responses: { 200: sent },
  errors: { 404: NOT_THERE, 409: "`wrong_state`: it is no other's sighting" },
});
