/** What a client may ask of an import, in the query string or in the fields of a form. */
import Joi from "joi";
import { SOURCE_FILTERS } from "../../services/history/sources.js";
import type { ImportOptions } from "../../services/import/jobs.js";
import { isImportableSource } from "../../services/import/prepare.js";
import { type ErrorDetail, ValidationError } from "../../utils/errors.js";
import { validate } from "../middleware/validation.js";
import { instant, queryFlag } from "../schemas.js";

export interface UploadOptions {
  readonly source?: string;
  readonly dryRun?: boolean;
  readonly from?: Date;
  readonly until?: Date;
  readonly includeIncognito?: boolean;
}

export const uploadOptions = {
  source: Joi.string()
    .valid(...SOURCE_FILTERS.filter(isImportableSource))
    .description("Import only files of this family or provider; by default whatever the upload holds"),
  dryRun: queryFlag().description("Only say what would become of each row; write no play. Default false"),
  from: instant().description("Skip plays that began before this point in time, as `out_of_range`"),
  until: instant().description("Skip plays that began at this point in time or later, as `out_of_range`"),
  includeIncognito: queryFlag().description(
    "Also import plays of private sessions, which are skipped as `incognito` by default",
  ),
};

export const OPTION_NAMES = Object.keys(uploadOptions) as readonly (keyof UploadOptions)[];
const formOptions = Joi.object<UploadOptions>(uploadOptions);

/** Throws `ValidationError` for an option that is in both places, and for a range that nothing can be in. */
export function mergeOptions(
  query: UploadOptions,
  fields: Readonly<Record<string, string>>,
): { readonly dryRun: boolean; readonly options: ImportOptions } {
  const form = validate(formOptions, fields, "form");
  const twice = OPTION_NAMES.filter((name) => query[name] !== undefined && form[name] !== undefined);
  refuse(
    twice.map((path) => {
      return { path, code: "conflicting", message: `${path} is in the query string and in the form` };
    }),
  );
  const { source, dryRun, from, until, includeIncognito } = { ...form, ...query };
  checkRange({ ...form, ...query });
  return {
    dryRun: dryRun ?? false,
    options: {
      source: source ?? null,
      from: from?.toISOString() ?? null,
      until: until?.toISOString() ?? null,
      includeIncognito: includeIncognito ?? false,
    },
  };
}

/** Throws `ValidationError` unless `from` is earlier than `until`. */
export function checkRange({ from, until }: Pick<UploadOptions, "from" | "until">): void {
  if (from === undefined || until === undefined || from < until) return;
  refuse([{ path: "from", code: "bad_range", message: "from must be earlier than until" }]);
}

function refuse(details: readonly ErrorDetail[]): void {
  if (details.length > 0)
    throw new ValidationError(details.map(({ message }) => message).join(". "), details);
}
