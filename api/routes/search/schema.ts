import Joi from "joi";
import { endpoint } from "../../middleware/endpoint.js";
import { component } from "../../openapi/components.js";
import { cursor, pageSize, text } from "../../schemas.js";
import { albumSummaryView } from "../albums/schema.js";
import { artistSummaryView } from "../artists/schema.js";
import { trackView } from "../tracks/schema.js";

const QUERY_MAX_BYTES = 1000;
const TYPES = ["track", "artist", "album"] as const;
const ANY_TYPE = `(?:${TYPES.join("|")})`;

export interface SearchQuery {
  readonly q: string;
  /** Of `TYPES`, separated by commas. */
  readonly type: string;
  readonly limit: number;
  readonly cursor?: string;
}

const VIEWS = [
  ["track", trackView],
  ["artist", artistSummaryView],
  ["album", albumSummaryView],
] as const;

const resultView = component(
  "SearchResult",
  Joi.alternatives(
    ...VIEWS.map(([type, view]) =>
      Joi.object({
        type: Joi.string().valid(type).required(),
        score: Joi.number()
          .min(0)
          .max(1)
          .required()
          .description("How well it fits, and to a lesser part how popular it is"),
        item: view.required(),
      }),
    ),
  ),
);

export const searchCatalogue = endpoint({
  method: "get",
  path: "/api/v1/search",
  operationId: "search",
  summary: "Search tracks, artists and albums",
  description:
    "Words of names, in any order: of a track or an album also those of its artist. Case, accents and signs do not matter, " +
    "the last word may be only begun, and any script will do, from one character. Where that finds next to nothing, words " +
    "may have a slip, or two if they are long; where that finds nothing, one of several words may be missing. " +
    "The best come first. New and changed names are found within ten seconds.",
  tags: ["search"],
  auth: "user",
  rateClass: "search",
  query: Joi.object<SearchQuery>({
    q: text(QUERY_MAX_BYTES).required().description("What to look for. Every sign in it is taken as text"),
    type: Joi.string()
      .pattern(new RegExp(`^${ANY_TYPE}(?:,${ANY_TYPE}){0,2}$`), {
        name: `one or more of ${TYPES.join(", ")}, separated by commas`,
      })
      .default(TYPES.join(","))
      .description("What to find, separated by commas; everything by default"),
    limit: pageSize(),
    cursor: cursor(),
  }),
  responses: {
    200: {
      description: "One page",
      schema: Joi.object({
        data: Joi.array().items(resultView).required(),
        nextCursor: Joi.string().allow(null).required().description("null on the last page"),
      }),
    },
  },
  errors: {
    503: "`busy`: too many searches are under way; `search_timeout`: this one took more than half a second",
  },
});
