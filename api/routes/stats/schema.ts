import Joi from "joi";
import { accountOf, CATALOGUE, historyOf, type Scope } from "../../../db/queries/cacheVersions.js";
import type { TopKind } from "../../../db/queries/stats.js";
import { BUCKETS, MAX_BUCKETS } from "../../../services/stats/buckets.js";
import type { ActivityQuery, StatsQuery, TopQuery } from "../../../services/stats/StatsService.js";
import { endpoint } from "../../middleware/endpoint.js";
import { component } from "../../openapi/components.js";
import { cursor, id, moment, pageSize, timeZone, uuid } from "../../schemas.js";

const PATH = "/api/v1/stats";

const plays = () => Joi.number().integer().min(0).required();
const msPlayed = () =>
  Joi.number().integer().min(0).required().description("Milliseconds played, where the sources tell them");
const time = () => Joi.string().isoDate().allow(null).required();

const summaryView = component(
  "StatsSummary",
  Joi.object({
    plays: plays(),
    msPlayed: msPlayed(),
    artists: plays().description("Different artists"),
    albums: plays().description("Different albums; a play need not name one"),
    tracks: plays().description("Different tracks"),
    firstAt: time().description("Start of the first play, UTC; null without plays"),
    lastAt: time().description("Start of the last play, UTC; null without plays"),
  }),
);

const artist = () => Joi.object({ id: id().required(), name: Joi.string().required() }).required();
const ENTITY_VIEWS: Readonly<Record<TopKind, Joi.ObjectSchema>> = {
  artist: artist(),
  album: Joi.object({ id: id().required(), title: Joi.string().required(), artist: artist() }).required(),
  track: Joi.object({
    id: id().required(),
    title: Joi.string().required(),
    durationMs: Joi.number().integer().allow(null).required(),
    artist: artist(),
  }).required(),
};

const range = {
  from: moment().description(
    "Only plays that started at or after this point in time, or in or after this day of `tz`",
  ),
  until: moment().description(
    "Only plays that started before this point in time, or before this day of `tz`",
  ),
  tz: timeZone().description(
    "IANA name of the time zone in which days begin, like `Europe/Amsterdam`; your account's own by default",
  ),
  userId: uuid().description(
    "Another user's statistics, where they made their history public; your own otherwise",
  ),
};

const errors = { 404: "No such user, or a history that is not public" };

/** `tz` is the reader's own unless said otherwise; who may read, and whose plays they are, is the owner's affair. */
const scopesOf = (callerId: string, ownerId = callerId): readonly Scope[] => [
  historyOf(ownerId),
  accountOf(callerId),
  ...(ownerId === callerId ? [] : [accountOf(ownerId)]),
  CATALOGUE,
];

const WHAT_COUNTS =
  "Of the plays that count as a listen, each once however many sources saw it. Another user's plays of private " +
  "sessions are left out.";

export const showSummary = endpoint({
  method: "get",
  path: `${PATH}/summary`,
  operationId: "showStatsSummary",
  summary: "How much was played, and how much of it was different",
  description: WHAT_COUNTS,
  tags: ["stats"],
  auth: "user",
  query: Joi.object<StatsQuery>(range),
  responses: { 200: { description: "The sums", schema: summaryView } },
  errors,
  cache: ({ caller, query }) => scopesOf(caller.userId, query.userId),
});

const top = (kind: TopKind, path: string, operationId: string, name: string) =>
  endpoint({
    method: "get",
    path: `${PATH}/top/${path}`,
    operationId,
    summary: `What was played most: ${path}`,
    description: `${WHAT_COUNTS} Most plays first, then the lowest id.`,
    tags: ["stats"],
    auth: "user",
    query: Joi.object<TopQuery>({ ...range, limit: pageSize(), cursor: cursor() }),
    responses: {
      200: {
        description: "One page",
        schema: Joi.object({
          data: Joi.array()
            .items(
              component(
                name,
                Joi.object({ [kind]: ENTITY_VIEWS[kind], plays: plays().min(1), msPlayed: msPlayed() }),
              ),
            )
            .required(),
          nextCursor: Joi.string().allow(null).required().description("null on the last page"),
        }),
      },
    },
    errors,
    // Deeper pages are read once.
    cache: ({ caller, query }) => (query.cursor === undefined ? scopesOf(caller.userId, query.userId) : null),
  });

export const topArtists = top("artist", "artists", "listTopArtists", "TopArtist");
export const topAlbums = top("album", "albums", "listTopAlbums", "TopAlbum");
export const topTracks = top("track", "tracks", "listTopTracks", "TopTrack");

const bucketSumView = component(
  "ActivityBucket",
  Joi.object({
    bucket: Joi.string()
      .required()
      .description(
        "Start of the bucket in `tz`: the date of its first day (weeks begin on Mondays), and for hours the local time " +
          "with its offset. Where clocks are put back, the hour that they show twice is two buckets.",
      )
      .example("2025-03-31"),
    plays: plays(),
    msPlayed: msPlayed(),
  }),
);

export const listActivity = endpoint({
  method: "get",
  path: `${PATH}/activity`,
  operationId: "listActivity",
  summary: "Plays by hour, day, week, month or year",
  description:
    `${WHAT_COUNTS} Every bucket that the range touches is listed, also those without plays; an open end of the range is ` +
    `the first or the last play. At most ${MAX_BUCKETS.toLocaleString("en")} buckets.`,
  tags: ["stats"],
  auth: "user",
  query: Joi.object<ActivityQuery>({
    ...range,
    bucket: Joi.string()
      .valid(...BUCKETS)
      .default("day")
      .description("Size of the buckets"),
  }),
  responses: {
    200: {
      description: "The buckets in order of time",
      schema: Joi.object({ data: Joi.array().items(bucketSumView).required() }),
    },
  },
  errors,
  cache: ({ caller, query }) => scopesOf(caller.userId, query.userId),
});
