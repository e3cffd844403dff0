import Joi from "joi";
import { PASSWORD_LENGTH } from "../../../services/auth/passwords.js";
import { endpoint } from "../../middleware/endpoint.js";
import { component } from "../../openapi/components.js";
import { password, text } from "../../schemas.js";
import { userView } from "../users/schema.js";

export interface Register {
  email: string;
  username: string;
  password: string;
  displayName?: string | null;
}

export interface Login {
  login?: string;
  email?: string;
  username?: string;
  password: string;
}

const USERNAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{1,31}$/;

const credentials = {
  accessToken: Joi.string().required().description("JWT for the Authorization header"),
  refreshToken: Joi.string().required().description("Opaque; each use gives the next one"),
  tokenType: Joi.string().valid("Bearer").required(),
  expiresIn: Joi.number().integer().required().description("Seconds until the access token expires"),
};
export const credentialsView = component("Credentials", Joi.object(credentials));
export const loggedInView = component("LoggedIn", Joi.object({ user: userView.required(), ...credentials }));

export const register = endpoint({
  method: "post",
  path: "/api/v1/auth/register",
  operationId: "register",
  summary: "Create an account and log in",
  description: "The first account of a server becomes its admin.",
  tags: ["auth"],
  auth: "none",
  body: Joi.object<Register, true>({
    email: text(254)
      .email({ tlds: { allow: false }, minDomainSegments: 1 })
      .required()
      .description("Unique, upper and lower case are the same"),
    username: text(32)
      .pattern(USERNAME, "2 to 32 letters, digits, dots, hyphens or underscores")
      .required()
      .description("Unique, upper and lower case are the same"),
    password: password()
      .required()
      .description(`${PASSWORD_LENGTH.min} to ${PASSWORD_LENGTH.max} characters of any kind`),
    displayName: text(200).allow(null),
  }),
  responses: { 201: { description: "The account and its first credentials", schema: loggedInView } },
  errors: { 403: "Registration is closed", 409: "The e-mail address or the user name is taken" },
});

export const login = endpoint({
  method: "post",
  path: "/api/v1/auth/login",
  operationId: "login",
  summary: "Log in with an e-mail address or a user name",
  description: "Exactly one of `login`, `email` and `username` is needed; all three take either.",
  tags: ["auth"],
  auth: "none",
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
  responses: { 204: { description: "The session has ended" } },
});
