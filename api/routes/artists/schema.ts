import Joi from "joi";
import { CATALOGUE, LISTINGS } from "../../../db/queries/cacheVersions.js";
import type { ArtistFields } from "../../../services/catalog/fields.js";
import { movedResponse, changeErrors } from "../../catalogue/answers.js";
import {
  externalIds,
  externalIdsView,
  idParams,
  listQuery,
  mergeBody,
  name,
  nullableNumber,
  nullableText,
  pageOf,
  popularity,
} from "../../catalogue/fields.js";
import { endpoint } from "../../middleware/endpoint.js";
import { component } from "../../openapi/components.js";
import { id } from "../../schemas.js";

export const PATH = "/api/v1/artists";
const tags = ["artists"];

const summary = {
  id: id().required(),
  name: Joi.string().required(),
  country: nullableText().description("ISO 3166-1 alpha-2"),
  externalIds: externalIdsView(),
  popularity: popularity(),
};

export const artistSummaryView = component("ArtistSummary", Joi.object(summary));
export const artistView = component(
  "Artist",
  Joi.object({
    ...summary,
    albums: Joi.array()
      .items(Joi.object({ id: id().required(), title: Joi.string().required(), releaseDate: nullableText() }))
      .required()
      .description("Newest first, at most 1,000; /albums?artistId= lists all"),
    topTracks: Joi.array()
      .items(
        Joi.object({
          id: id().required(),
          title: Joi.string().required(),
          durationMs: nullableNumber(),
          popularity: popularity(),
        }),
      )
      .required()
      .description("The ten most played; /tracks?artistId= lists all"),
  }),
);

const country = () =>
  Joi.string()
    .pattern(/^[A-Z]{2}$/, { name: "two capital letters, as in ISO 3166-1" })
    .allow(null);

const whole = () =>
  Joi.object<ArtistFields>({
    name: name().required(),
    country: country().default(null),
    externalIds: externalIds().default([]),
  });

export const listArtists = endpoint({
  method: "get",
  path: PATH,
  operationId: "listArtists",
  summary: "List artists, the most played first",
  tags,
  auth: "user",
  query: listQuery(),
  responses: { 200: { description: "One page", schema: pageOf(artistSummaryView) } },
  cache: ({ query }) => (query.cursor === undefined ? [CATALOGUE, LISTINGS] : null),
});

export const createArtist = endpoint({
  method: "post",
  path: PATH,
  operationId: "createArtist",
  summary: "Add an artist",
  description:
    "Under the name of one that is there, one of its former names or one of its strong ids, that one comes back as it " +
    "is, with 200.",
  tags,
  auth: "user",
  body: whole(),
  responses: {
    201: { description: "The new artist", schema: artistView, headers: { Location: "Its address" } },
    200: { description: "It was there", schema: artistView, headers: { Location: "Its address" } },
  },
  errors: { 409: "`taken`: a strong id belongs to another artist than the name" },
  changes: true,
});

export const showArtist = endpoint({
  method: "get",
  path: `${PATH}/:id`,
  operationId: "showArtist",
  summary: "Show an artist with albums and top tracks",
  tags,
  auth: "user",
  params: idParams(),
  responses: { 200: { description: "The artist", schema: artistView }, ...movedResponse },
  cache: () => [CATALOGUE, LISTINGS],
});

export const replaceArtist = endpoint({
  method: "put",
  path: `${PATH}/:id`,
  operationId: "replaceArtist",
  summary: "Replace what can be edited of an artist",
  description:
    "An optional field that is absent is emptied. A name that is given up goes on finding the artist.",
  tags,
  auth: "user",
  role: "editor",
  conditional: true,
  params: idParams(),
  body: whole(),
  responses: { 200: { description: "As it is now", schema: artistView }, ...movedResponse },
  errors: changeErrors,
  changes: true,
});

export const patchArtist = endpoint({
  method: "patch",
  path: `${PATH}/:id`,
  operationId: "patchArtist",
  summary: "Change fields of an artist",
  description: "At least one. A name that is given up goes on finding the artist.",
  tags,
  auth: "user",
  role: "editor",
  conditional: true,
  params: idParams(),
  body: Joi.object<Partial<ArtistFields>>({
    name: name(),
    country: country(),
    externalIds: externalIds(),
  }).or("name", "country", "externalIds"),
  responses: { 200: { description: "As it is now", schema: artistView }, ...movedResponse },
  errors: changeErrors,
  changes: true,
});

export const mergeArtist = endpoint({
  method: "post",
  path: `${PATH}/:id/merge`,
  operationId: "mergeArtist",
  summary: "Merge an artist into another one",
  description:
    "Tracks and albums of the same name are merged, too; the rest of them and all plays move. The old id redirects from " +
    "then on, and the old name finds the other one, in imports as well. It cannot be undone. The same merge again " +
    "answers the same.",
  tags,
  auth: "user",
  role: "editor",
  conditional: true,
  params: idParams(),
  body: mergeBody(),
  responses: { 200: { description: "The one that stays", schema: artistView }, ...movedResponse },
  errors: changeErrors,
  changes: true,
});
