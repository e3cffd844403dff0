import Joi from "joi";
import { accountOf, CATALOGUE, historyOf } from "../../../db/queries/cacheVersions.js";
import type { HistoryQuery } from "../../../services/history/HistoryService.js";
import { SOURCE_FILTERS } from "../../../services/history/sources.js";
import { PLAY_SOURCES } from "../../../services/import/types.js";
import { endpoint } from "../../middleware/endpoint.js";
import { component } from "../../openapi/components.js";
import {
  cursor,
  id,
  idParam,
  instant,
  pageSize,
  queryFlag,
  queryInteger,
  text,
  uuid,
} from "../../schemas.js";

const PATH = "/api/v1/listening-history";
const NAME_MAX_BYTES = 1000;

export const listenView = component(
  "Listen",
  Joi.object({
    id: id().required(),
    playedAt: Joi.string().isoDate().required().description("Start of the play, UTC with milliseconds"),
    msPlayed: Joi.number()
      .integer()
      .min(0)
      .allow(null)
      .required()
      .description("null: the source does not say"),
    precision: Joi.string()
      .valid("second", "minute", "day", "inferred")
      .required()
      .description("How exactly the source tells the time"),
    source: Joi.string()
      .valid(...PLAY_SOURCES)
      .required()
      .description("Family of the source"),
    counted: Joi.boolean().required().description("Whether the play counts as a listen"),
    duplicateOf: id()
      .allow(null)
      .required()
      .description("The play that this one is another sighting of; null for a play of its own"),
    importId: Joi.string()
      .guid()
      .allow(null)
      .required()
      .description("The import that brought it; null for others' plays"),
    track: Joi.object({
      id: id().required(),
      title: Joi.string().required(),
      durationMs: Joi.number().integer().allow(null).required(),
    }).required(),
    artist: Joi.object({ id: id().required(), name: Joi.string().required() }).required(),
    album: Joi.object({ id: id().required(), title: Joi.string().required() }).allow(null).required(),
    context: Joi.object()
      .unknown(true)
      .allow(null)
      .required()
      .description(
        "What else the source knows: platform, country, shuffle and the like; null for others' plays",
      ),
    createdAt: Joi.string().isoDate().required(),
    updatedAt: Joi.string().isoDate().required(),
  }),
);

const query = Joi.object<HistoryQuery>({
  from: instant().description("Only plays that started at or after this point in time"),
  until: instant().description("Only plays that started before this point in time"),
  artistId: idParam(),
  trackId: idParam(),
  albumId: idParam(),
  artist: text(NAME_MAX_BYTES).description(
    "Name of the artist; case, quotes, hyphens and spaces do not matter",
  ),
  track: text(NAME_MAX_BYTES).description(
    "Title of the track; case, quotes, hyphens and spaces do not matter",
  ),
  source: Joi.string()
    .valid(...SOURCE_FILTERS)
    .description("A family, or spotify, apple or youtube for all families of that provider"),
  importId: uuid().description("Only plays that this import brought"),
  counted: queryFlag().description("true: only plays that count as a listen; false: only the others"),
  includeDuplicates: queryFlag()
    .default(false)
    .description("Also list plays that are another sighting of one in the list"),
  userId: uuid().description(
    "Another user's history, where its owner made it public; the caller's own otherwise",
  ),
  order: Joi.string().valid("desc", "asc").default("desc").description("Newest or oldest first"),
  limit: pageSize(),
  cursor: cursor(),
  page: queryInteger(1, 100).description("Number of the page, from 1, in place of cursor"),
  includeTotal: queryFlag().default(false).description("Also count all plays that fit"),
});

export const listListens = endpoint({
  method: "get",
  path: PATH,
  operationId: "listListens",
  summary: "List plays, newest first",
  description:
    "All plays of the history, also those that do not count as a listen; without other sightings of the same " +
    "play. Follow `nextCursor` for a stable walk through the whole history: a page deep in it costs no more " +
    "than the first.",
  tags: ["listening-history"],
  auth: "user",
  query,
  responses: {
    200: {
      description: "One page",
      schema: Joi.object({
        data: Joi.array().items(listenView).required(),
        nextCursor: Joi.string().allow(null).required().description("null on the last page"),
        total: Joi.number().integer().min(0).description("Only with includeTotal"),
      }),
    },
  },
  errors: { 404: "No such user, or a history that is not public" },
  // The first page is what apps ask for over and over; deeper ones are read once.
  cache: ({ caller, query: { userId = caller.userId, cursor: position, page = 1 } }) =>
    position === undefined && page === 1 ? [historyOf(userId), accountOf(userId), CATALOGUE] : null,
});

export const showListen = endpoint({
  method: "get",
  path: `${PATH}/:id`,
  operationId: "showListen",
  summary: "Show one play",
  tags: ["listening-history"],
  auth: "user",
  params: Joi.object<{ id: number }>({ id: idParam().required() }),
  responses: { 200: { description: "The play", schema: listenView } },
  cache: ({ caller }) => [historyOf(caller.userId), CATALOGUE],
  errors: { 404: "No such play, or not one the caller may see" },
});
