/**
 * Joi types that all resources share. Everything is validated without conversion: a type that reads a query
 * string or a path (`queryInteger`, `idParam`, ...) accepts one strict spelling and hands on the typed value.
 * Codes of refusals are in api/middleware/validation.ts.
 */
import Joi from "joi";
import { isCommonPassword } from "../services/auth/commonPasswords.js";
import { normalisePassword, PASSWORD_LENGTH } from "../services/auth/passwords.js";
import { parseInstant } from "../utils/time.js";
import { isTimeZone, parseLocalDate } from "../utils/timeZones.js";
import { UUID_PATTERN } from "../utils/uuid.js";

/** JSON Schema hook of Joi 18.3, which its type declarations do not know yet. */
interface JsonSchemaExtension extends Joi.Extension {
  jsonSchema?: (schema: unknown, result: Record<string, unknown>) => Record<string, unknown>;
}

/** Largest id: identity columns are bigint, but leave as JSON numbers. */
const MAX_ID = Number.MAX_SAFE_INTEGER;
const LONE_SURROGATE = /\p{Surrogate}/u;
const toUuid = (text: string): string | null =>
  UUID_PATTERN.test(text.toLowerCase()) ? text.toLowerCase() : null;

/** Type, parser and JSON Schema of a value that is written as a string; null from `parse` refuses it. */
const written = (
  type: string,
  base: Joi.Schema,
  parse: (text: string) => unknown,
  shape: Record<string, unknown>,
): JsonSchemaExtension => ({
  type,
  base,
  messages: { [`${type}.form`]: "{{#label}} has another form" },
  validate(value: unknown, helpers: Joi.CustomHelpers) {
    const parsed = typeof value === "string" ? parse(value) : null;
    if (parsed !== null) return { value: parsed };
    return { value, errors: helpers.error(`${type}.form`, { ...shape }) }; // Joi writes into what it is given
  },
  jsonSchema: (_schema, result) => ({ ...result, ...shape }),
});

const textExtension: JsonSchemaExtension = {
  type: "text",
  base: Joi.string(),
  messages: { "text.nul": "{{#label}} contains NUL", "text.unicode": "{{#label}} is not Unicode text" },
  validate(value: unknown, helpers: Joi.CustomHelpers) {
    if (typeof value !== "string") return { value };
    if (value.includes("\0")) return { value, errors: helpers.error("text.nul") };
    if (LONE_SURROGATE.test(value)) return { value, errors: helpers.error("text.unicode") };
    return { value };
  },
  jsonSchema: (_schema, result) => ({ ...result, type: "string" }),
};

const positive = (text: string): number | null => {
  if (!/^[1-9]\d{0,15}$/.test(text)) return null;
  const id = Number(text);
  return id <= MAX_ID ? id : null;
};

// `extend` is typed as any; these are the types it builds, under the Joi interfaces their values have.
const types = Joi.extend(
  textExtension,
  written("instant", Joi.any(), parseInstant, { type: "string", format: "date-time" }),
  written("moment", Joi.any(), (text) => parseInstant(text) ?? parseLocalDate(text), { type: "string" }),
  written("id", Joi.any(), positive, { type: "integer", minimum: 1, maximum: MAX_ID }),
  written("uuid", Joi.any(), toUuid, {
    type: "string",
    format: "uuid",
  }),
  written("cursor", Joi.any(), (text) => (/^[\w-]{1,512}$/.test(text) ? text : null), { type: "string" }),
  written("flag", Joi.any(), (text) => (text === "true" ? true : text === "false" ? false : null), {
    type: "boolean",
  }),
) as {
  text(): Joi.StringSchema;
  instant(): Joi.DateSchema;
  moment(): Joi.AnySchema<Date | number>;
  id(): Joi.NumberSchema;
  uuid(): Joi.StringSchema;
  cursor(): Joi.StringSchema;
  flag(): Joi.BooleanSchema;
};

/** Text as PostgreSQL can keep it: no NUL, no lone surrogates, at most `maxBytes` of UTF-8. Not empty. */
export const text = (maxBytes: number): Joi.StringSchema => types.text().max(maxBytes, "utf8");

/** An id in a path or a query string: 1 to 2^53-1, decimal, no sign, no leading zero. Gives a number. */
export const idParam = (): Joi.NumberSchema => types.id();

/** An id in a JSON body. */
export const id = (): Joi.NumberSchema => Joi.number().integer().min(1).max(MAX_ID);

/** A UUID, given on in lower case. */
export const uuid = (): Joi.StringSchema => types.uuid();

/** A point in time with offset, given on as a Date; see utils/time.ts. */
export const instant = (): Joi.DateSchema => types.instant();

/** A point in time as `instant`, or a date, given on as a day number: whose days they are, the reader has to know. */
export const moment = (): Joi.AnySchema<Date | number> => types.moment().example("2025-01-01");

/** `true` or `false` in a query string. */
export const queryFlag = (): Joi.BooleanSchema => types.flag();

/** An opaque position in a list, as `nextCursor` gave it. Only the spelling is checked here. */
export const cursor = (): Joi.StringSchema =>
  types.cursor().description("`nextCursor` of the page before this one");

/** A whole number in a query string, decimal digits only. */
export function queryInteger(min: number, max: number): Joi.NumberSchema {
  const parse = (digits: string): number | null => {
    const value = /^\d{1,9}$/.test(digits) ? Number(digits) : NaN;
    return value >= min && value <= max ? value : null;
  };
  const extended = Joi.extend(
    written("integer", Joi.any(), parse, { type: "integer", minimum: min, maximum: max }),
  ) as { integer(): Joi.NumberSchema };
  return extended.integer();
}

/** `limit` of a list: 100 by default, at most 1,000. */
export const pageSize = (): Joi.NumberSchema =>
  queryInteger(1, 1000)
    .default(100)
    .description("Rows per page, at most 1,000; fewer where they are very long");

/** The IANA name of a time zone. */
export const timeZone = (): Joi.StringSchema =>
  text(64)
    .custom((value: string, helpers) => (isTimeZone(value) ? value : helpers.error("timeZone.form")))
    .description("IANA name of a time zone, like `Europe/Amsterdam`");

/** A password to be set; one that is only compared needs no rules. Length counts code points after NFKC. */
export const password = (): Joi.StringSchema =>
  text(4096).custom((value: string, helpers) => {
    const normal = normalisePassword(value);
    const length = [...normal].length;
    if (length < PASSWORD_LENGTH.min || length > PASSWORD_LENGTH.max) return helpers.error("password.length");
    return isCommonPassword(normal) ? helpers.error("password.common") : value;
  });
