import Joi from "joi";
import { CREDIT_ROLES } from "../../../db/models/enums.js";
import { CATALOGUE, LISTINGS } from "../../../db/queries/cacheVersions.js";
import type { ArtistChoice, TrackFields } from "../../../services/catalog/fields.js";
import { movedResponse, changeErrors } from "../../catalogue/answers.js";
import {
  artistChoice,
  externalIds,
  externalIdsView,
  idParams,
  isrc,
  listOfArtistQuery,
  mergeBody,
  name,
  namedArtist,
  nullableNumber,
  nullableText,
  pageOf,
  popularity,
  withArtist,
} from "../../catalogue/fields.js";
import { endpoint } from "../../middleware/endpoint.js";
import { component } from "../../openapi/components.js";
import { id } from "../../schemas.js";

export const PATH = "/api/v1/tracks";
const tags = ["tracks"];
const CREDITS_MAX = 100;
const DAY_MS = 86_400_000;

const role = () => Joi.string().valid(...CREDIT_ROLES);

export const trackView = component(
  "Track",
  Joi.object({
    id: id().required(),
    title: Joi.string().required(),
    durationMs: nullableNumber(),
    isrc: nullableText(),
    artist: namedArtist(),
    artists: Joi.array()
      .items(Joi.object({ id: id().required(), name: Joi.string().required(), role: role().required() }))
      .required()
      .description("Credits; the track's artist alone where no others are known"),
    albums: Joi.array()
      .items(
        Joi.object({
          id: id().required(),
          title: Joi.string().required(),
          disc: nullableNumber(),
          position: nullableNumber(),
        }),
      )
      .required()
      .description("At most 100"),
    externalIds: externalIdsView(),
    popularity: popularity(),
  }),
);

const durationMs = () => Joi.number().integer().min(1).max(DAY_MS).allow(null).description("Milliseconds");

const credits = () =>
  Joi.array<TrackFields["artists"]>()
    .items(Joi.object({ id: id().required(), role: role().default("main") }))
    .max(CREDITS_MAX)
    .description("Credits in order; none: the track's artist alone");

const whole = {
  title: name().required(),
  durationMs: durationMs().default(null),
  isrc: isrc().allow(null).default(null),
  artists: credits().default([]),
  externalIds: externalIds().default([]),
};

export const listTracks = endpoint({
  method: "get",
  path: PATH,
  operationId: "listTracks",
  summary: "List tracks, the most played first",
  tags,
  auth: "user",
  query: listOfArtistQuery(),
  responses: { 200: { description: "One page", schema: pageOf(trackView) } },
  cache: ({ query }) => (query.cursor === undefined ? [CATALOGUE, LISTINGS] : null),
});

export const createTrack = endpoint({
  method: "post",
  path: PATH,
  operationId: "createTrack",
  summary: "Add a track",
  description:
    "Of an artist by id or by name. Under a title that the artist has a track of, a former title or one of the strong " +
    "ids, that one comes back as it is, with 200.",
  tags,
  auth: "user",
  body: withArtist(Joi.object<TrackFields & ArtistChoice>({ ...artistChoice, ...whole })),
  responses: {
    201: { description: "The new track", schema: trackView, headers: { Location: "Its address" } },
    200: { description: "It was there", schema: trackView, headers: { Location: "Its address" } },
  },
  errors: { 409: "`taken`: a strong id belongs to another track than the title" },
  changes: true,
});

export const showTrack = endpoint({
  method: "get",
  path: `${PATH}/:id`,
  operationId: "showTrack",
  summary: "Show a track with its artists and albums",
  tags,
  auth: "user",
  params: idParams(),
  responses: { 200: { description: "The track", schema: trackView }, ...movedResponse },
  cache: () => [CATALOGUE, LISTINGS],
});

export const replaceTrack = endpoint({
  method: "put",
  path: `${PATH}/:id`,
  operationId: "replaceTrack",
  summary: "Replace what can be edited of a track",
  description:
    "An optional field that is absent is emptied. A title that is given up goes on finding the track. Its artist is part of " +
    "what it is: to change that, add the track to the other artist and merge this one into it.",
  tags,
  auth: "user",
  role: "editor",
  conditional: true,
  params: idParams(),
  body: Joi.object<TrackFields>(whole),
  responses: { 200: { description: "As it is now", schema: trackView }, ...movedResponse },
  errors: changeErrors,
  changes: true,
});

export const patchTrack = endpoint({
  method: "patch",
  path: `${PATH}/:id`,
  operationId: "patchTrack",
  summary: "Change fields of a track",
  description: "At least one. A title that is given up goes on finding the track.",
  tags,
  auth: "user",
  role: "editor",
  conditional: true,
  params: idParams(),
  body: Joi.object<Partial<TrackFields>>({
    title: name(),
    durationMs: durationMs(),
    isrc: isrc().allow(null),
    artists: credits(),
    externalIds: externalIds(),
  }).or("title", "durationMs", "isrc", "artists", "externalIds"),
  responses: { 200: { description: "As it is now", schema: trackView }, ...movedResponse },
  errors: changeErrors,
  changes: true,
});

export const mergeTrack = endpoint({
  method: "post",
  path: `${PATH}/:id/merge`,
  operationId: "mergeTrack",
  summary: "Merge a track into another one",
  description:
    "Plays, places on albums and strong ids move. The old id redirects from then on, and the old title finds the other one, " +
    "in imports as well. It cannot be undone. The same merge again answers the same.",
  tags,
  auth: "user",
  role: "editor",
  conditional: true,
  params: idParams(),
  body: mergeBody(),
  responses: { 200: { description: "The one that stays", schema: trackView }, ...movedResponse },
  errors: changeErrors,
  changes: true,
});
