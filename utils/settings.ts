/** What all settings have in common: the form of numbers, and a sentence for each that is wrong. */
import Joi from "joi";

export const MIB = 1024 ** 2;
export const GIB = 1024 ** 3;

/** A whole number from `min` to `max`. */
export const whole = (min: number, max: number): Joi.NumberSchema => Joi.number().integer().min(min).max(max);

/** A sentence that names the setting and the rule. Joi's own quote the value, which may be a secret. */
export function problemOf(detail: Joi.ValidationErrorItem): string {
  const name = String(detail.path[0] ?? "settings");
  switch (detail.type) {
    case "any.required":
      return `${name} is required`;
    case "any.only":
      return `${name} must be one of ${(detail.context?.["valids"] as string[]).join(", ")}`;
    case "number.base":
    case "number.integer":
      return `${name} must be a whole number`;
    case "number.min":
    case "string.min":
      return `${name} must be at least ${detail.context?.["limit"]}${detail.type === "string.min" ? " characters" : ""}`;
    case "number.max":
    case "string.max":
      return `${name} must be at most ${detail.context?.["limit"]}${detail.type === "string.max" ? " characters" : ""}`;
    case "number.port":
      return `${name} must be a port from 0 to 65535`;
    case "string.uriCustomScheme":
      return `${name} must be a URL that starts with ${String(detail.context?.["scheme"]).split("|").join(": or ")}:`;
    case "object.and":
    case "object.with":
      return `${togetherWith(detail)} must be set, too`;
    case "object.without":
      return `${detail.context?.["main"]} and ${detail.context?.["peer"]} exclude each other`;
    case "string.pattern.name":
      return `${name} must have the form ${detail.context?.["name"]}`;
    default:
      return `${name} is not valid (${detail.type})`;
  }
}

const togetherWith = ({ context }: Joi.ValidationErrorItem): string =>
  [context?.["missing"] ?? context?.["peer"]].flat().join(" and ");
