/** Runs Joi schemas over input and says what is wrong in the API's own words: never Joi's, which quote the input. */
import type Joi from "joi";
import { type ErrorDetail, ValidationError } from "../../utils/errors.js";

/** More problems than a person will read; a body can carry a hundred thousand unknown keys. */
const MAX_DETAILS = 100;
const MAX_PATH = 200;
/** Joi names each unknown field, and breaks down over more of them than fit on the stack. */
const MAX_FIELDS = 50_000;

type Sentence = string | ((context: Joi.Context) => string);

const limit = (context: Joi.Context): string => String(context["limit"]);

/** Joi's error types → stable codes of the API and a sentence. */
const RULES: Readonly<Record<string, readonly [code: string, sentence: Sentence]>> = {
  "any.required": ["required", "is required"],
  "any.only": [
    "not_allowed",
    ({ valids }) => `must be one of ${(valids as unknown[]).map(String).join(", ")}`,
  ],
  "any.invalid": ["not_allowed", "is not allowed"],
  "object.unknown": ["unknown_field", "is not a field of this request"],
  "object.base": ["wrong_type", "must be an object"],
  "object.min": ["required", "needs at least one field"],
  "object.missing": ["required", ({ peers }) => `needs one of ${(peers as string[]).join(", ")}`],
  "object.xor": ["conflicting", ({ peers }) => `takes only one of ${(peers as string[]).join(", ")}`],
  "object.oxor": ["conflicting", ({ peers }) => `takes only one of ${(peers as string[]).join(", ")}`],
  "array.base": ["wrong_type", "must be an array"],
  "array.min": ["too_few", (context) => `needs at least ${limit(context)} items`],
  "array.max": ["too_many", (context) => `takes at most ${limit(context)} items`],
  "boolean.base": ["wrong_type", "must be true or false"],
  "string.base": ["wrong_type", "must be text"],
  "string.empty": ["empty", "must not be empty"],
  "string.min": ["too_short", (context) => `needs at least ${limit(context)} characters`],
  "string.max": [
    "too_long",
    (context) =>
      `is longer than ${limit(context)} ${context["encoding"] === "utf8" ? "bytes" : "characters"}`,
  ],
  "string.email": ["bad_email", "is not an e-mail address"],
  "string.pattern.base": ["bad_format", "has a form that is not allowed"],
  "string.pattern.name": ["bad_format", ({ name }) => `must be ${String(name)}`],
  "number.base": ["wrong_type", "must be a number"],
  "number.integer": ["bad_number", "must be a whole number"],
  "number.unsafe": ["bad_number", "is too large"],
  "number.infinity": ["bad_number", "must be finite"],
  "number.min": ["out_of_range", (context) => `must be at least ${limit(context)}`],
  "number.max": ["out_of_range", (context) => `must be at most ${limit(context)}`],
  "text.nul": ["text_nul", "contains the character NUL"],
  "text.unicode": ["text_not_unicode", "contains half of a surrogate pair"],
  "instant.form": ["bad_time", "must be a date and time with offset, like 2024-02-29T12:00:00Z"],
  "instant.range": ["time_out_of_range", "must lie between 2000-01-01 and an hour from now"],
  "moment.form": [
    "bad_time",
    "must be a date like 2024-02-29, or a date and time with offset like 2024-02-29T12:00:00Z",
  ],
  "id.form": ["bad_id", "must be a whole number from 1 to 9007199254740991"],
  "integer.form": [
    "bad_number",
    ({ minimum, maximum }) => `must be a whole number from ${String(minimum)} to ${String(maximum)}`,
  ],
  "uuid.form": ["bad_id", "must be a UUID"],
  "cursor.form": ["bad_cursor", "is not a cursor of this list"],
  "flag.form": ["wrong_type", "must be true or false"],
  "timeZone.form": ["bad_time_zone", "must be the name of a time zone, like Europe/Amsterdam"],
  "country.form": ["bad_country", "must be an ISO 3166-1 code of two capital letters, like NL"],
  "url.form": ["bad_url", "must be an http or https address without a user name"],
  "password.length": ["password_length", "must have 12 to 256 characters"],
  "password.common": ["password_common", "is among the passwords that everybody tries first"],
};

function describe({ type, path, context = {} }: Joi.ValidationErrorItem): ErrorDetail {
  const [code, sentence] = RULES[type] ?? ["invalid", "is not valid"];
  const where = path.join(".").slice(0, MAX_PATH);
  const words = typeof sentence === "string" ? sentence : sentence(context);
  return { path: where, code, message: `${where === "" ? "The input" : where} ${words}` };
}

/**
 * Every problem of `value` under `schema`, or the value with defaults. Nothing is converted, except by types
 * that say so (api/schemas.ts). Throws `ValidationError` naming each field.
 */
export function validate<T>(schema: Joi.ObjectSchema<T>, value: unknown, what: string): T {
  if (typeof value === "object" && value !== null && Object.keys(value).length > MAX_FIELDS) {
    const message = `The ${what} has more than ${MAX_FIELDS} fields`;
    throw new ValidationError(message, [{ path: "", code: "too_many", message }]);
  }
  const result = schema.validate(value, { abortEarly: false, convert: false, errors: { render: false } });
  if (result.error === undefined) return result.value;
  throw new ValidationError(
    `The ${what} is not valid`,
    result.error.details.slice(0, MAX_DETAILS).map((detail) => describe(detail)),
  );
}
