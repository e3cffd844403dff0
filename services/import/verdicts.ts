/**
 * What can become of a record, a part and a job: one list for JSON, CSV, logs and documentation.
 * Numbers are stored in import_batches and never change meaning; new reasons get new numbers.
 */

export const DUPLICATE_REASONS = {
  same_row: { number: 1, sentence: "The same row again in this upload" },
  already_there: { number: 2, sentence: "Already in the history before this import" },
  deleted_by_user: { number: 3, sentence: "The owner deleted this play" },
} as const;

export const SKIP_REASONS = {
  podcast: { number: 1, sentence: "A podcast episode" },
  audiobook: { number: 2, sentence: "An audiobook chapter" },
  video: { number: 3, sentence: "A music video from Spotify's video file" },
  ad: { number: 4, sentence: "An advertisement" },
  incognito: { number: 5, sentence: "Played in a private session" },
  not_music: { number: 6, sentence: "An ordinary video" },
  not_a_play: { number: 7, sentence: "An event that is no play" },
  continuation: { number: 8, sentence: "A segment that was merged into another row" },
  removed: { number: 9, sentence: "The source no longer says what was played" },
  aggregate: { number: 10, sentence: "A total, not a play" },
  out_of_range: { number: 11, sentence: "Outside the requested time range" },
  now_playing: { number: 12, sentence: "Still playing when the export was made" },
} as const;

export const REJECT_REASONS = {
  malformed: { number: 1, sentence: "Not a readable record" },
  database: { number: 2, sentence: "The database refused the record" },
  missing_field: { number: 3, sentence: "A field that every play needs is missing" },
  bad_time: { number: 4, sentence: "Not a valid point in time" },
  time_out_of_range: { number: 5, sentence: "Before 2000-01-01, or too far in the future" },
  bad_number: { number: 6, sentence: "Not a valid number" },
  text_nul: { number: 7, sentence: "A text contains the character NUL" },
  encoding: { number: 8, sentence: "Not valid UTF-8" },
  too_long: { number: 9, sentence: "Larger than the limit" },
  too_deep: { number: 10, sentence: "Nested too deeply" },
  column_count: { number: 11, sentence: "More or fewer columns than the header" },
  unsupported_locale: { number: 12, sentence: "A language this format cannot be read in" },
} as const;

/** Errors of a part or of a whole job. */
export const IMPORT_ERRORS = {
  not_a_zip: "The archive cannot be read as a ZIP file",
  unsafe_archive: "The archive contains names or structures that are not safe",
  archive_limit: "The archive is larger than a limit",
  entry_corrupt: "The file inside the archive is damaged",
  entry_unsupported: "The file inside the archive is stored in an unsupported way",
  encrypted: "The archive is encrypted",
  unrecognised_format: "No known listening history format",
  file_truncated: "The file ends in the middle of a record",
  csv_unclosed_quote: "A quoted CSV field never ends",
  header: "The CSV header is not as expected",
  encoding: "The file is not UTF-8",
  no_known_files: "The archive contains no file of a known format",
  empty_file: "The file is empty",
  storage_lost: "The stored upload is missing or damaged",
  owner_gone: "The account no longer exists",
  parser_changed: "The import began with another version of the parsers",
  provider: "The provider did not answer as documented",
  resource_limit: "The import needed more memory or disk than allowed",
  stopped_by_operator: "The run was stopped from outside",
  ledger_mismatch: "The counts of this import do not add up",
} as const;

export type SkipReason = keyof typeof SKIP_REASONS;
export type RejectReason = keyof typeof REJECT_REASONS;
export type ImportErrorCode = keyof typeof IMPORT_ERRORS;

/** A part or a whole import that cannot go on; the code is contract, the message may name file and position. */
export class ImportError extends Error {
  constructor(
    readonly code: ImportErrorCode,
    message: string = IMPORT_ERRORS[code],
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = "ImportError";
  }
}

const names = <T extends Record<string, { number: number }>>(
  table: T,
): ReadonlyMap<number, keyof T & string> =>
  new Map(Object.entries(table).map(([name, { number }]) => [number, name]));

export const duplicateReasonByNumber = names(DUPLICATE_REASONS);
export const skipReasonByNumber = names(SKIP_REASONS);
