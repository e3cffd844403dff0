import Joi from "joi";
import { CATALOGUE, LISTINGS } from "../../../db/queries/cacheVersions.js";
import type { AlbumFields, ArtistChoice } from "../../../services/catalog/fields.js";
import { daysInMonth } from "../../../utils/time.js";
import { movedResponse, changeErrors } from "../../catalogue/answers.js";
import {
  artistChoice,
  externalIds,
  externalIdsView,
  idParams,
  listOfArtistQuery,
  mergeBody,
  name,
  namedArtist,
  nullableNumber,
  nullableText,
  pageOf,
  withArtist,
} from "../../catalogue/fields.js";
import { endpoint } from "../../middleware/endpoint.js";
import { component } from "../../openapi/components.js";
import { id } from "../../schemas.js";

export const PATH = "/api/v1/albums";
const tags = ["albums"];
const TRACKS_MAX = 1000;

const summary = {
  id: id().required(),
  title: Joi.string().required(),
  artist: namedArtist(),
  releaseDate: nullableText().description("YYYY, YYYY-MM or YYYY-MM-DD: as exactly as it is known"),
  externalIds: externalIdsView(),
};

export const albumSummaryView = component("AlbumSummary", Joi.object(summary));
export const albumView = component(
  "Album",
  Joi.object({
    ...summary,
    tracks: Joi.array()
      .items(
        Joi.object({
          id: id().required(),
          title: Joi.string().required(),
          disc: nullableNumber(),
          position: nullableNumber(),
          durationMs: nullableNumber(),
        }),
      )
      .required()
      .description("In order; those without a place last. At most 1,000"),
  }),
);

const RELEASE_DATE = /^\d{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?)?$/;
const releaseDateForm = { name: "a date like 1999, 1999-12 or 1999-12-31" };

const releaseDate = () =>
  Joi.string()
    .pattern(RELEASE_DATE, releaseDateForm)
    .custom((value: string, helpers) => {
      const [year, month, day] = value.split("-").map(Number);
      // Another form is refused already.
      const exists =
        !RELEASE_DATE.test(value) || day === undefined || day <= daysInMonth(year ?? 0, month ?? 0);
      return exists ? value : helpers.error("string.pattern.name", releaseDateForm);
    })
    .allow(null);

const place = (max: number) => Joi.number().integer().min(1).max(max).allow(null).default(null);

const tracks = () =>
  Joi.array<AlbumFields["tracks"]>()
    .items(Joi.object({ id: id().required(), disc: place(999), position: place(9999) }))
    .max(TRACKS_MAX)
    .description(
      "Tracks and their places. A track that is not named stays on the album, without a place: plays may stand there",
    );

const whole = {
  title: name().required(),
  releaseDate: releaseDate().default(null),
  tracks: tracks().default([]),
  externalIds: externalIds().default([]),
};

export const listAlbums = endpoint({
  method: "get",
  path: PATH,
  operationId: "listAlbums",
  summary: "List albums, the most played first",
  tags,
  auth: "user",
  query: listOfArtistQuery(),
  responses: { 200: { description: "One page", schema: pageOf(albumSummaryView) } },
  cache: ({ query }) => (query.cursor === undefined ? [CATALOGUE, LISTINGS] : null),
});

export const createAlbum = endpoint({
  method: "post",
  path: PATH,
  operationId: "createAlbum",
  summary: "Add an album",
  description:
    "Of an artist by id or by name. Under a title that the artist has an album of, a former title or one of the strong " +
    "ids, that one comes back as it is, with 200.",
  tags,
  auth: "user",
  body: withArtist(Joi.object<AlbumFields & ArtistChoice>({ ...artistChoice, ...whole })),
  responses: {
    201: { description: "The new album", schema: albumView, headers: { Location: "Its address" } },
    200: { description: "It was there", schema: albumView, headers: { Location: "Its address" } },
  },
  errors: { 409: "`taken`: a strong id belongs to another album than the title" },
  changes: true,
});

export const showAlbum = endpoint({
  method: "get",
  path: `${PATH}/:id`,
  operationId: "showAlbum",
  summary: "Show an album with its tracks in order",
  tags,
  auth: "user",
  params: idParams(),
  responses: { 200: { description: "The album", schema: albumView }, ...movedResponse },
  cache: () => [CATALOGUE, LISTINGS],
});

export const replaceAlbum = endpoint({
  method: "put",
  path: `${PATH}/:id`,
  operationId: "replaceAlbum",
  summary: "Replace what can be edited of an album",
  description:
    "An optional field that is absent is emptied. A title that is given up goes on finding the album. Its artist is part of " +
    "what it is: to change that, add the album to the other artist and merge this one into it.",
  tags,
  auth: "user",
  role: "editor",
  conditional: true,
  params: idParams(),
  body: Joi.object<AlbumFields>(whole),
  responses: { 200: { description: "As it is now", schema: albumView }, ...movedResponse },
  errors: changeErrors,
  changes: true,
});

export const patchAlbum = endpoint({
  method: "patch",
  path: `${PATH}/:id`,
  operationId: "patchAlbum",
  summary: "Change fields of an album",
  description: "At least one. A title that is given up goes on finding the album.",
  tags,
  auth: "user",
  role: "editor",
  conditional: true,
  params: idParams(),
  body: Joi.object<Partial<AlbumFields>>({
    title: name(),
    releaseDate: releaseDate(),
    tracks: tracks(),
    externalIds: externalIds(),
  }).or("title", "releaseDate", "tracks", "externalIds"),
  responses: { 200: { description: "As it is now", schema: albumView }, ...movedResponse },
  errors: changeErrors,
  changes: true,
});

export const mergeAlbum = endpoint({
  method: "post",
  path: `${PATH}/:id/merge`,
  operationId: "mergeAlbum",
  summary: "Merge an album into another one",
  description:
    "Tracks and plays move. The old id redirects from then on, and the old title finds the other one, in imports as well. " +
    "It cannot be undone. The same merge again answers the same.",
  tags,
  auth: "user",
  role: "editor",
  conditional: true,
  params: idParams(),
  body: mergeBody(),
  responses: { 200: { description: "The one that stays", schema: albumView }, ...movedResponse },
  errors: changeErrors,
  changes: true,
});
