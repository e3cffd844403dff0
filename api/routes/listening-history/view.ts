/** A play as answers show it. */
import Joi from "joi";
import { PLAY_SOURCES } from "../../../services/import/types.js";
import { component } from "../../openapi/components.js";
import { id } from "../../schemas.js";

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
