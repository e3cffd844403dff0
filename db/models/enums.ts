/** Values of the enumerated columns, for code that must not load Objection. A test compares them with the database. */

export const USER_ROLES = ["user", "editor", "admin"] as const;
export type UserRole = (typeof USER_ROLES)[number];

export const VISIBILITIES = ["public", "private"] as const;
export type Visibility = (typeof VISIBILITIES)[number];

export const TOKEN_SCOPES = ["read", "write", "import", "admin"] as const;
export type TokenScope = (typeof TOKEN_SCOPES)[number];

/** Families of sources, as stored in listening_history.source and part of every source key. */
export const PLAY_SOURCES = [
  "manual",
  "spotify-extended",
  "spotify-account",
  "spotify-live",
  "apple-export",
  "apple-daily",
  "apple-live",
  "youtube-json",
  "youtube-html",
  "listenbrainz",
  "lastfm",
  "lastfm-minute",
  "maloja",
  "koito",
  "playlog",
] as const;
export type PlaySource = (typeof PLAY_SOURCES)[number];

export const TIME_PRECISIONS = ["second", "minute", "day", "inferred"] as const;
export type TimePrecision = (typeof TIME_PRECISIONS)[number];

export const CATALOGUE_ENTITIES = ["artist", "album", "track"] as const;
export type CatalogueEntity = (typeof CATALOGUE_ENTITIES)[number];

export const EXTERNAL_ID_PROVIDERS = ["spotify", "apple", "youtube", "musicbrainz", "isrc"] as const;
export type ExternalIdProvider = (typeof EXTERNAL_ID_PROVIDERS)[number];

export const CREDIT_ROLES = [
  "main",
  "featured",
  "remixer",
  "producer",
  "composer",
  "lyricist",
  "conductor",
  "performer",
] as const;
export type CreditRole = (typeof CREDIT_ROLES)[number];

export const CONNECTION_PROVIDERS = ["spotify", "apple", "youtube", "listenbrainz", "lastfm"] as const;
export type ConnectionProvider = (typeof CONNECTION_PROVIDERS)[number];
export const isConnectionProvider = (name: string): name is ConnectionProvider =>
  CONNECTION_PROVIDERS.some((provider) => provider === name);

/** Those whose accounts are connected by going there and agreeing. */
export const OAUTH_PROVIDERS = ["spotify", "youtube"] as const satisfies readonly ConnectionProvider[];
export type OAuthProvider = (typeof OAUTH_PROVIDERS)[number];

export const CONNECTION_STATUSES = ["active", "needs_reauth", "paused", "unavailable"] as const;
export type ConnectionStatus = (typeof CONNECTION_STATUSES)[number];

export const IMPORT_KINDS = ["file", "sync"] as const;
export type ImportKind = (typeof IMPORT_KINDS)[number];

export const IMPORT_STATUSES = [
  "queued",
  "running",
  "paused",
  "cancelling",
  "cancelled",
  "completed",
  "completed_with_errors",
  "failed",
  "undoing",
  "undone",
] as const;
export type ImportStatus = (typeof IMPORT_STATUSES)[number];

/** While a job has one of these, a second upload of the same bytes with the same options is the first. */
export const OPEN_IMPORT_STATUSES = ["queued", "running", "paused", "cancelling"] as const;

export const PART_STATUSES = ["queued", "running", "done", "skipped", "failed"] as const;
export type PartStatus = (typeof PART_STATUSES)[number];

/** What becomes of a record that is no play; plays and duplicates stand in import_batches. */
export const LISTED_VERDICTS = ["skipped", "rejected"] as const;
export type ListedVerdict = (typeof LISTED_VERDICTS)[number];
