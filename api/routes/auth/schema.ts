import Joi from "joi";
import { TOKEN_SCOPES, type TokenScope } from "../../../db/models/enums.js";
import { MAX_TOKENS } from "../../../services/auth/ApiTokenStore.js";
import { PASSWORD_LENGTH } from "../../../services/auth/passwords.js";
import { IDLE_DAYS, MAX_SESSIONS } from "../../../services/auth/sessionRows.js";
import { endpoint } from "../../middleware/endpoint.js";
import { component } from "../../openapi/components.js";
import { instant, password, text, uuid } from "../../schemas.js";
import { email, username, userView } from "../users/schema.js";

export interface Register {
  email: string;
  username: string;
  password: string;
  displayName?: string | null;
  invite?: string;
}

export interface Login {
  login?: string;
  email?: string;
  username?: string;
  password: string;
}

const credentials = {
  accessToken: Joi.string().required().description("JWT for the Authorization header"),
  refreshToken: Joi.string().required().description("Opaque; each use gives the next one"),
  tokenType: Joi.string().valid("Bearer").required(),
  expiresIn: Joi.number().integer().required().description("Seconds until the access token expires"),
};
export const credentialsView = component("Credentials", Joi.object(credentials));
export const loggedInView = component("LoggedIn", Joi.object({ user: userView.required(), ...credentials }));

const time = () => Joi.string().isoDate().required();
const nullableTime = () => Joi.string().isoDate().allow(null).required();
const newPassword = () =>
  password()
    .required()
    .description(`${PASSWORD_LENGTH.min} to ${PASSWORD_LENGTH.max} characters of any kind`);

export const sessionView = component(
  "Session",
  Joi.object({
    id: uuid().required(),
    current: Joi.boolean().required().description("The one this request was made with"),
    userAgent: Joi.string().allow(null).required().description("Of the login, as it called itself"),
    createdAt: time(),
    lastUsedAt: time().description("Of its login or its last refresh"),
    expiresAt: time().description("When it ends if it is not refreshed"),
  }),
);

const apiToken = {
  id: uuid().required(),
  name: Joi.string().required(),
  scopes: Joi.array()
    .items(Joi.string().valid(...TOKEN_SCOPES))
    .required(),
  lastUsedAt: nullableTime().description("At most a minute behind"),
  expiresAt: nullableTime().description("Null: it works until it is revoked"),
  createdAt: time(),
};
export const apiTokenView = component("ApiToken", Joi.object(apiToken));
export const newApiTokenView = component(
  "NewApiToken",
  Joi.object({ ...apiToken, token: Joi.string().required().description("Shown this once") }),
);

/** Lists that fit into one page whatever happens. */
const wholeList = (item: Joi.Schema) =>
  Joi.object({
    data: Joi.array().items(item).required(),
    nextCursor: Joi.string().allow(null).required().description("Always null: the list is whole"),
  });
export const sessionList = component("SessionList", wholeList(sessionView));
export const apiTokenList = component("ApiTokenList", wholeList(apiTokenView));

const oneId = Joi.object<{ id: string }, true>({ id: uuid().required() });

export const register = endpoint({
  method: "post",
  path: "/api/v1/auth/register",
  operationId: "register",
  summary: "Create an account and log in",
  description:
    "The first account of a server becomes its admin. Where registration is by invite, `invite` is the code of one; a code that is given is used up.",
  tags: ["auth"],
  auth: "none",
  rateClass: "login",
  guesses: ({ body }) => body.email,
  body: Joi.object<Register, true>({
    email: email().required(),
    username: username().required(),
    password: newPassword(),
    displayName: text(200).allow(null),
    invite: text(100).description("Code of an invite"),
  }),
  responses: { 201: { description: "The account and its first credentials", schema: loggedInView } },
  errors: {
    403: "Registration is closed, or takes an invite that works",
    409: "The e-mail address or the user name is taken",
  },
});

export const login = endpoint({
  method: "post",
  path: "/api/v1/auth/login",
  operationId: "login",
  summary: "Log in with an e-mail address or a user name",
  description: "Exactly one of `login`, `email` and `username` is needed; all three take either.",
  tags: ["auth"],
  auth: "none",
  rateClass: "login",
  guesses: ({ body }) => body.login ?? body.email ?? body.username ?? "",
  body: Joi.object<Login, true>({
    login: text(254),
    email: text(254),
    username: text(254),
    password: text(4096).required(),
  }).xor("login", "email", "username"),
  responses: { 200: { description: "The account and new credentials", schema: loggedInView } },
  errors: { 401: "The login or the password is wrong" },
});

export const refresh = endpoint({
  method: "post",
  path: "/api/v1/auth/refresh",
  operationId: "refresh",
  summary: "Exchange a refresh token for new credentials",
  description:
    "A refresh token works once. The one before the current one gives the current one again for 20 seconds; an older one ends the session.",
  tags: ["auth"],
  auth: "none",
  rateClass: "refresh",
  body: Joi.object<{ refreshToken: string }, true>({ refreshToken: text(200).required() }),
  responses: { 200: { description: "New credentials", schema: credentialsView } },
  errors: { 401: "The refresh token does not work (any more)" },
});

export const logout = endpoint({
  method: "post",
  path: "/api/v1/auth/logout",
  operationId: "logout",
  summary: "End this session: its access and refresh tokens stop working at once",
  tags: ["auth"],
  auth: "user",
  scope: "session",
  responses: { 204: { description: "The session has ended" } },
});

export const logoutAll = endpoint({
  method: "post",
  path: "/api/v1/auth/logout-all",
  operationId: "logoutAll",
  summary: "End all your sessions, this one too",
  description:
    "On the next request, on every api process. Personal API tokens go on; revoke them one by one.",
  tags: ["auth"],
  auth: "user",
  scope: "session",
  responses: { 204: { description: "All sessions have ended" } },
});

export const listSessions = endpoint({
  method: "get",
  path: "/api/v1/auth/sessions",
  operationId: "listSessions",
  summary: "Where you are logged in, last used first",
  description: `Sessions that work. An account has at most ${MAX_SESSIONS}: when another begins, the one that was not used for longest ends. One that nobody refreshes for ${IDLE_DAYS} days ends, too.`,
  tags: ["auth"],
  auth: "user",
  scope: "session",
  responses: { 200: { description: "Your sessions", schema: sessionList } },
});

export const endSession = endpoint({
  method: "delete",
  path: "/api/v1/auth/sessions/:id",
  operationId: "endSession",
  summary: "End one of your sessions",
  tags: ["auth"],
  auth: "user",
  scope: "session",
  params: oneId,
  responses: { 204: { description: "The session has ended" } },
});

export interface ChangePassword {
  currentPassword: string;
  newPassword: string;
  keepTokens: boolean;
}

export const changePassword = endpoint({
  method: "post",
  path: "/api/v1/auth/password",
  operationId: "changePassword",
  summary: "Change your password",
  description:
    "Ends all your sessions, this one too, and your personal API tokens unless `keepTokens` is true; the answer has the credentials of a new session.",
  tags: ["auth"],
  auth: "user",
  scope: "session",
  guesses: ({ caller }) => caller.userId,
  body: Joi.object<ChangePassword, true>({
    currentPassword: text(4096).required(),
    newPassword: newPassword(),
    keepTokens: Joi.boolean().default(false).description("Let personal API tokens go on"),
  }),
  responses: { 200: { description: "Credentials of the new session", schema: credentialsView } },
  errors: { 403: "The current password is wrong, or this is an API token" },
});

export interface CreateApiToken {
  name: string;
  scopes: TokenScope[];
  expiresAt: Date | null;
}

export const createApiToken = endpoint({
  method: "post",
  path: "/api/v1/auth/tokens",
  operationId: "createApiToken",
  summary: "Make a personal API token, for a script or an app",
  description: `Sent as \`Authorization: Bearer playlog_...\`. \`read\` is for every GET, \`write\` for changes, \`import\` for imports, \`admin\` for what only admins may do, which is all it adds. The token is in this answer only. At most ${MAX_TOKENS} at a time.`,
  tags: ["auth"],
  auth: "user",
  scope: "session",
  body: Joi.object<CreateApiToken, true>({
    name: text(100).required().description("For you to know it by"),
    scopes: Joi.array()
      .items(Joi.string().valid(...TOKEN_SCOPES))
      .min(1)
      .max(TOKEN_SCOPES.length)
      .required(),
    expiresAt: instant()
      .allow(null)
      .default(null)
      .description("In the future; null: it works until it is revoked"),
  }),
  responses: { 201: { description: "The token, shown this once", schema: newApiTokenView } },
  errors: {
    403: "The scope `admin` without the role, or this is an API token itself",
    409: "There are too many tokens",
  },
});

export const listApiTokens = endpoint({
  method: "get",
  path: "/api/v1/auth/tokens",
  operationId: "listApiTokens",
  summary: "Your personal API tokens that work, newest first",
  tags: ["auth"],
  auth: "user",
  scope: "session",
  responses: { 200: { description: "Your tokens, without the tokens themselves", schema: apiTokenList } },
});

export const revokeApiToken = endpoint({
  method: "delete",
  path: "/api/v1/auth/tokens/:id",
  operationId: "revokeApiToken",
  summary: "Revoke one of your personal API tokens",
  tags: ["auth"],
  auth: "user",
  scope: "session",
  params: oneId,
  responses: { 204: { description: "It works nowhere any more" } },
});
