import Joi from "joi";
import { USER_ROLES, type UserRole, VISIBILITIES, type Visibility } from "../../../db/models/enums.js";
import { accountOf } from "../../../db/queries/cacheVersions.js";
import { isCountry } from "../../../services/users/countries.js";
import { endpoint } from "../../middleware/endpoint.js";
import { text, timeZone, uuid } from "../../schemas.js";
import { component } from "../../openapi/components.js";

const visibility = () =>
  Joi.string()
    .valid(...VISIBILITIES)
    .required();
const time = () => Joi.string().isoDate().required();
const nullableText = () => Joi.string().allow(null).required();

const profile = {
  id: uuid().required(),
  username: Joi.string().required(),
  displayName: nullableText(),
  bio: nullableText(),
  avatarUrl: nullableText(),
  country: nullableText().description("ISO 3166-1 alpha-2"),
  timeZone: Joi.string().required().description("IANA name, used for grouping in statistics"),
  profileVisibility: visibility(),
  historyVisibility: visibility(),
  createdAt: time(),
  updatedAt: time(),
};

export const profileView = component("Profile", Joi.object(profile));
export const userView = component(
  "User",
  Joi.object({
    ...profile,
    email: Joi.string().required(),
    role: Joi.string().valid("user", "editor", "admin").required(),
  }),
);

const idOfUser = Joi.object<{ id: string }, true>({ id: uuid().required() });

export const showMe = endpoint({
  method: "get",
  path: "/api/v1/users/me",
  operationId: "showMe",
  summary: "Your own account",
  tags: ["users"],
  auth: "user",
  responses: { 200: { description: "Your account", schema: userView } },
  cache: ({ caller }) => [accountOf(caller.userId)],
});

export const showUser = endpoint({
  method: "get",
  path: "/api/v1/users/:id",
  operationId: "showUser",
  summary: "An account: your own, or one whose profile is public",
  description: "A private account of somebody else answers like one that does not exist.",
  tags: ["users"],
  auth: "user",
  params: idOfUser,
  responses: {
    200: {
      description: "Your account, or the other's profile",
      schema: Joi.alternatives(userView, profileView),
    },
  },
  cache: ({ params }) => [accountOf(params.id)],
});

const USERNAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{1,31}$/;

export const email = (): Joi.StringSchema =>
  text(254)
    .email({ tlds: { allow: false }, minDomainSegments: 1 })
    .description("Unique, upper and lower case are the same");

export const username = (): Joi.StringSchema =>
  text(32)
    .pattern(USERNAME, "2 to 32 letters, digits, dots, hyphens or underscores")
    .description("Unique, upper and lower case are the same");

const countryCode = (): Joi.StringSchema =>
  text(2)
    .custom((value: string, helpers) => (isCountry(value) ? value : helpers.error("country.form")))
    .description("ISO 3166-1 alpha-2");

/** Shown by clients, never fetched by the server. */
const webAddress = (): Joi.StringSchema =>
  text(2048)
    .custom((value: string, helpers) => (isWebAddress(value) ? value : helpers.error("url.form")))
    .description("An http or https address; the server never fetches it");

function isWebAddress(value: string): boolean {
  if (!/^https?:\/\/[^\s\p{Cc}\\]+$/iu.test(value) || !URL.canParse(value)) return false;
  const { username: name, password } = new URL(value);
  return name === "" && password === "";
}

/** What an owner may change. */
export interface EditableAccount {
  email?: string;
  username?: string;
  displayName?: string | null;
  bio?: string | null;
  avatarUrl?: string | null;
  country?: string | null;
  timeZone?: string;
  profileVisibility?: Visibility;
  historyVisibility?: Visibility;
}

const optional = {
  displayName: text(200).allow(null),
  bio: text(4096).allow(null),
  avatarUrl: webAddress().allow(null),
  country: countryCode().allow(null),
};
const seenBy = (what: string): Joi.StringSchema =>
  Joi.string()
    .valid(...VISIBILITIES)
    .description(
      `\`public\`: everybody who has an account may see ${what}. Counts on the next request of anybody`,
    );

const replacement = Joi.object<EditableAccount, true>({
  email: email().required(),
  username: username().required(),
  displayName: optional.displayName.default(null),
  bio: optional.bio.default(null),
  avatarUrl: optional.avatarUrl.default(null),
  country: optional.country.default(null),
  timeZone: timeZone().default("UTC"),
  profileVisibility: seenBy("the profile").default("private"),
  historyVisibility: seenBy("the plays").default("private"),
});

const changes = Joi.object<EditableAccount, true>({
  email: email(),
  username: username(),
  ...optional,
  timeZone: timeZone(),
  profileVisibility: seenBy("the profile"),
  historyVisibility: seenBy("the plays"),
}).min(1);

const TAKEN = "The e-mail address or the user name is taken";

const replace = {
  method: "put",
  description: "What is left out gets its default: nothing, `UTC`, `private`.",
  tags: ["users"],
  auth: "user",
  conditional: true,
  changes: true,
  body: replacement,
  responses: { 200: { description: "Your account as it is now", schema: userView } },
  errors: { 409: TAKEN },
} as const;

const change = {
  ...replace,
  method: "patch",
  description: "What is left out stays as it is.",
  body: changes,
} as const;

export const replaceMe = endpoint({
  ...replace,
  path: "/api/v1/users/me",
  operationId: "replaceMe",
  summary: "Replace your profile and privacy settings",
});

export const replaceUser = endpoint({
  ...replace,
  path: "/api/v1/users/:id",
  operationId: "replaceUser",
  summary: "Replace your profile and privacy settings, by id",
  params: idOfUser,
});

export const changeMe = endpoint({
  ...change,
  path: "/api/v1/users/me",
  operationId: "changeMe",
  summary: "Change your profile and privacy settings",
});

export const changeUser = endpoint({
  ...change,
  path: "/api/v1/users/:id",
  operationId: "changeUser",
  summary: "Change your profile and privacy settings, by id",
  params: idOfUser,
});

export const giveRole = endpoint({
  method: "put",
  path: "/api/v1/users/:id/role",
  operationId: "giveRole",
  summary: "Give an account a role",
  description:
    "An editor may change what all share of the catalogue, an admin also roles. Counts on the next request.",
  tags: ["users"],
  auth: "user",
  role: "admin",
  scope: "admin",
  changes: true,
  params: idOfUser,
  body: Joi.object<{ role: UserRole }, true>({
    role: Joi.string()
      .valid(...USER_ROLES)
      .required(),
  }),
  responses: {
    200: {
      description: "The account and its role",
      schema: component(
        "AccountRole",
        Joi.object({
          id: uuid().required(),
          username: Joi.string().required(),
          role: Joi.string()
            .valid(...USER_ROLES)
            .required(),
        }),
      ),
    },
  },
  errors: { 409: "You are the last admin" },
});

export const eraseMe = endpoint({
  method: "delete",
  path: "/api/v1/users/me",
  operationId: "eraseMe",
  summary: "Erase your account and all that belongs to it",
  description:
    "The account is off at once: no session and no token of it works any more. Then everything is deleted, which takes from seconds to minutes; nothing takes it back. E-mail address and user name are free afterwards.",
  tags: ["users"],
  auth: "user",
  scope: "session",
  guesses: ({ caller }) => caller.userId,
  changes: true,
  body: Joi.object<{ password: string }, true>({ password: text(4096).required() }),
  responses: {
    202: {
      description: "The account is off and is being erased",
      schema: component("Erasing", Joi.object({ status: Joi.string().valid("erasing").required() })),
    },
  },
  errors: { 403: "The password is wrong, or an API token was used" },
});

export const exportMe = endpoint({
  method: "get",
  path: "/api/v1/users/me/export",
  operationId: "exportMe",
  summary: "Everything that is kept about you, as a ZIP archive",
  description:
    "JSON Lines, and your plays also as CSV; `README.txt` in it says what is where. It is made while it is sent: a download that breaks off is no archive.",
  tags: ["users"],
  auth: "user",
  rateClass: "exports",
  responses: {
    200: {
      description: "The archive",
      contentType: "application/zip",
      schema: Joi.string().description("The bytes of the archive"),
      headers: { "Content-Disposition": "The name to save it under" },
    },
  },
  errors: { 429: "Two exports of yours are under way, or there were too many" },
});
