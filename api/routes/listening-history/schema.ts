import Joi from "joi";
import { accountOf, CATALOGUE, historyOf } from "../../../db/queries/cacheVersions.js";
import { TOTAL_MAX } from "../../../db/queries/listeningHistory.js";
import type { HistoryQuery } from "../../../services/history/HistoryService.js";
import { SOURCE_FILTERS } from "../../../services/history/sources.js";
import { endpoint } from "../../middleware/endpoint.js";
import { cursor, idParam, instant, pageSize, queryFlag, queryInteger, text, uuid } from "../../schemas.js";
import { listenView } from "./view.js";

export * from "./writeSchema.js";

const PATH = "/api/v1/listening-history";
const NAME_MAX_BYTES = 1000;

const query = Joi.object<HistoryQuery>({
  from: instant().description("Only plays that started at or after this point in time"),
  until: instant().description("Only plays that started before this point in time"),
  artistId: idParam().description("The id of one that was merged into another one stands for that one"),
  trackId: idParam().description("As artistId"),
  albumId: idParam().description("As artistId"),
  artist: text(NAME_MAX_BYTES).description(
    "Name of the artist, now or before; case, quotes, hyphens and spaces do not matter",
  ),
  track: text(NAME_MAX_BYTES).description(
    "Title of the track, now or before; case, quotes, hyphens and spaces do not matter",
  ),
  source: Joi.string()
    .valid(...SOURCE_FILTERS)
    .description("A family, or spotify, apple or youtube for all families of that provider"),
  importId: uuid().description(
    "Only plays that this import brought; finds nothing in another user's history",
  ),
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
  includeTotal: queryFlag().default(false).description("Also count the plays that fit, to 100,000"),
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
        total: Joi.number()
          .integer()
          .min(0)
          .max(TOTAL_MAX)
          .description("How many plays fit; only with includeTotal"),
        totalIsExact: Joi.boolean().description("false: more than total do; only with includeTotal"),
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
