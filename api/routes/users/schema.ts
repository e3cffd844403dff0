import Joi from "joi";
import { accountOf } from "../../../db/queries/cacheVersions.js";
import { endpoint } from "../../middleware/endpoint.js";
import { uuid } from "../../schemas.js";
import { component } from "../../openapi/components.js";

const visibility = () => Joi.string().valid("public", "private").required();
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
  params: Joi.object<{ id: string }, true>({ id: uuid().required() }),
  responses: {
    200: {
      description: "Your account, or the other's profile",
      schema: Joi.alternatives(userView, profileView),
    },
  },
  cache: ({ params }) => [accountOf(params.id)],
});
