import Joi from "joi";
import { CONNECTION_PROVIDERS, IMPORT_STATUSES, OAUTH_PROVIDERS } from "../../../db/models/enums.js";
import type { OAuthProvider } from "../../../db/models/enums.js";
import { CLAIMED_PROVIDERS, type Claim } from "../../../services/connections/claims.js";
import type { Returned } from "../../../services/connections/ConnectionService.js";
import { endpoint } from "../../middleware/endpoint.js";
import { PROBLEM_TYPE } from "../../middleware/errorHandler.js";
import { component } from "../../openapi/components.js";
import { text, uuid } from "../../schemas.js";
import { type UploadOptions, uploadOptions } from "../../upload/options.js";
import { importView } from "../imports/view.js";

const PATH = "/api/v1/connections";
const ONE = `${PATH}/:id`;
const tags = ["connections"];

const USERNAME_MAX_BYTES = 256;
const TOKEN_MAX_BYTES = 4096;
const RETURNED_MAX_BYTES = 4096;
/** A month of 31 days. */
const MAX_MINUTES = 44_640;

const time = () => Joi.string().isoDate().required();
const provider = () =>
  Joi.string()
    .valid(...CONNECTION_PROVIDERS)
    .required();
const everyMinutes = () => Joi.number().integer().min(1).max(MAX_MINUTES).required();

const connectionView = component(
  "Connection",
  Joi.object({
    id: uuid().required(),
    provider: provider(),
    account: Joi.string()
      .required()
      .description("As the provider calls it; where it does not say, the same for all of this provider"),
    status: Joi.string()
      .valid("active", "needs_reauth", "paused", "unavailable")
      .required()
      .description(
        "needs_reauth: connect it again, the provider lets playlog in no longer; unavailable: this playlog is not set " +
          "up for the provider any more",
      ),
    schedule: Joi.object({
      everyMinutes: everyMinutes(),
      paused: Joi.boolean().required(),
      nextAt: time().allow(null).description("null while it does not run, and when it cannot be told now"),
    }).required(),
    lastSync: Joi.object({
      importId: uuid().required().description("The import with the counts and the rows of this sync"),
      status: Joi.string()
        .valid(...IMPORT_STATUSES)
        .required(),
      at: time().description("When it ended, or began"),
    })
      .allow(null)
      .required(),
    gaps: Joi.number()
      .integer()
      .min(0)
      .required()
      .description("Stretches of time that the provider told nothing about any more when it was asked"),
    createdAt: time(),
  }),
);

const availability = Joi.object({
  provider: provider(),
  available: Joi.boolean().required(),
  reason: Joi.string().allow(null).required().description("Why not; null when it is"),
});

export const listConnections = endpoint({
  method: "get",
  path: PATH,
  operationId: "listConnections",
  summary: "List your connections to accounts at providers, and the providers there are",
  tags,
  auth: "user",
  responses: {
    200: {
      description: "All of them, the oldest first",
      schema: Joi.object({
        data: Joi.array().items(connectionView).required(),
        providers: Joi.array().items(availability).required(),
      }),
    },
  },
});

const conflicts =
  "`provider_unavailable`: this playlog is not set up for it; `account_taken`: another user has connected this account " +
  "and shown that it is theirs; `too_many_connections`";
const unreachable = "The provider does not answer, or asks to wait; or something that playlog stands on";

export const createConnection = endpoint({
  method: "post",
  path: PATH,
  operationId: "createConnection",
  summary: "Connect an account by its name or a token",
  description:
    "ListenBrainz: `username`, or `token`, which also reads what is private; Last.fm: `username`; Apple Music: " +
    "`userToken`, as MusicKit gives it. For Spotify and YouTube see `authorize`. Tokens are kept encrypted and never shown. " +
    "The same account again is the same connection, opened anew.",
  tags,
  auth: "user",
  body: Joi.object<Claim>({
    provider: Joi.string()
      .valid(...CLAIMED_PROVIDERS)
      .required(),
    username: text(USERNAME_MAX_BYTES),
    token: token(),
    userToken: token(),
  }),
  responses: {
    200: { description: "You had connected this account before; it is opened again", schema: connectionView },
    201: { description: "Connected; the schedule is on", schema: connectionView },
  },
  errors: { 409: conflicts, 503: unreachable },
});

const oauthParams = Joi.object<{ provider: OAuthProvider }>({
  provider: Joi.string()
    .valid(...OAUTH_PROVIDERS)
    .required(),
});

export const authorizeConnection = endpoint({
  method: "post",
  path: `${PATH}/:provider/authorize`,
  operationId: "authorizeConnection",
  summary: "Begin to connect an account whose owner agrees at the provider",
  description:
    "Open `url` in a browser within ten minutes. The provider sends it back to `callback`, and the account is connected to " +
    "whoever asked here. Not for personal API tokens.",
  tags,
  auth: "user",
  scope: "session",
  params: oauthParams,
  responses: {
    200: {
      description: "Where to go",
      schema: Joi.object({
        url: Joi.string().uri().required().example("https://accounts.spotify.com/authorize?..."),
      }),
    },
  },
  errors: { 409: "`provider_unavailable`: this playlog is not set up for it" },
});

const returned = () => text(RETURNED_MAX_BYTES);

export const finishConnection = endpoint({
  method: "get",
  path: `${PATH}/:provider/callback`,
  operationId: "finishConnection",
  summary: "Where a provider sends the browser back to",
  description:
    "Nobody is logged in here: `state` says who began. It works once, for ten minutes, and only while their session lasts. " +
    "Browsers get a page.",
  tags,
  auth: "none",
  params: oauthParams,
  // Providers add parameters of their own, which have to be let through.
  query: Joi.object<Returned>({
    state: returned(),
    code: returned(),
    error: returned(),
    iss: returned(),
  }).unknown(true),
  responses: {
    200: {
      description: "The account is connected",
      schema: Joi.object({
        provider: provider(),
        account: Joi.string().required(),
        username: Joi.string().required().description("Whose connection it is, at this playlog"),
      }),
      also: { "text/html": "<!doctype html><title>Connected</title>..." },
    },
    400: {
      description:
        "`bad_state`: not begun here, used already, too old, or its session has ended; `access_denied`; " +
        "`authorization_failed`; `wrong_issuer`; `token_refused`: the provider does not take its code. Nothing is stored",
      contentType: PROBLEM_TYPE,
      schema: problemBody(),
      also: { "text/html": "<!doctype html><title>Not connected</title>..." },
    },
    409: {
      description: conflicts,
      contentType: PROBLEM_TYPE,
      schema: problemBody(),
      also: { "text/html": "<!doctype html><title>Not connected</title>..." },
    },
    503: {
      description: unreachable,
      contentType: PROBLEM_TYPE,
      schema: problemBody(),
      also: { "text/html": "<!doctype html><title>Not connected</title>..." },
    },
  },
});

const params = Joi.object<{ id: string }>({ id: uuid().required() });
const notFound = { 404: "No such connection of yours" };

export const scheduleConnection = endpoint({
  method: "put",
  path: `${ONE}/schedule`,
  operationId: "scheduleConnection",
  summary: "Say how often an account is synced, or that it is not",
  tags,
  auth: "user",
  params,
  body: Joi.object<{ everyMinutes: number; paused: boolean }>({
    everyMinutes: everyMinutes(),
    paused: Joi.boolean().required(),
  }),
  responses: { 200: { description: "The connection as it is now", schema: connectionView } },
  errors: notFound,
});

export type SyncOptions = Omit<UploadOptions, "source">;
const { source: _source, ...syncOptions } = uploadOptions;

export const syncConnection = endpoint({
  method: "post",
  path: `${ONE}/sync`,
  operationId: "syncConnection",
  summary: "Sync an account now, paused or not",
  description:
    "Also for schedulers outside, with a personal API token of the scope `import`. With `from` or `until`, a sync of Spotify, " +
    "ListenBrainz or Last.fm reads just that stretch of what the provider still has, whatever was synced before, and the next " +
    "one goes on as if it had not been. Apple Music and YouTube tell everything once: there the rest does not come again.",
  tags,
  auth: "user",
  scope: "import",
  params,
  query: Joi.object<SyncOptions>(syncOptions),
  responses: {
    200: {
      description: "A sync of this account is under way already",
      schema: importView,
      headers: { Location: "The import" },
    },
    202: { description: "It begins", schema: importView, headers: { Location: "The import" } },
  },
  errors: {
    ...notFound,
    409: "`needs_reauth`: connect the account again first; `provider_unavailable`: this playlog is not set up for it",
  },
});

export const deleteConnection = endpoint({
  method: "delete",
  path: ONE,
  operationId: "deleteConnection",
  summary: "Disconnect an account",
  description:
    "Its tokens are deleted, and given back where the provider has a way to. What its syncs brought stays, and so do the syncs.",
  tags,
  auth: "user",
  params,
  responses: { 204: { description: "Disconnected" } },
  errors: notFound,
});

function token(): Joi.StringSchema {
  return text(TOKEN_MAX_BYTES).pattern(/^[\x21-\x7e]+$/, "printable ASCII without spaces");
}

function problemBody(): Joi.ObjectSchema {
  return Joi.object({
    type: Joi.string().required(),
    title: Joi.string().required(),
    status: Joi.number().integer().required(),
    detail: Joi.string().required(),
    code: Joi.string().required(),
    requestId: Joi.string().required(),
    errors: Joi.array()
      .items(
        Joi.object({
          path: Joi.string().allow("").required(),
          code: Joi.string().required(),
          message: Joi.string().required(),
        }),
      )
      .required(),
  });
}
