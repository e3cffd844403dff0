/** Which tables an export is made of, and what of each. A test holds it against the database: nothing may be forgotten. */

export interface ExportedTable {
  readonly table: string;
  /** Name in the archive, without its ending. */
  readonly file: string;
  readonly columns: readonly string[];
  /** Secrets, and what means nothing outside this server. */
  readonly withheld: readonly string[];
  /** Of `columns`: tells the rows of one user (or import) apart, and orders them. No times: a Date loses microseconds. */
  readonly key: readonly string[];
}

export const ACCOUNT: Omit<ExportedTable, "key"> = {
  table: "users",
  file: "profile",
  columns: [
    ...["id", "email", "username", "display_name", "bio", "avatar_url", "country", "time_zone", "role"],
    ...["profile_visibility", "history_visibility", "created_at", "updated_at"],
  ],
  withheld: ["password_hash", "version", "disabled_at", "erase_requested_at"],
};

/** All by `user_id`. */
export const USER_TABLES = {
  deletedPlays: {
    table: "deleted_plays",
    file: "deleted-plays",
    columns: [
      ...[
        "source_key",
        "source",
        "loose_key",
        "start_earliest",
        "start_latest",
        "end_earliest",
        "end_latest",
      ],
      "deleted_at",
    ],
    withheld: ["user_id"],
    key: ["source_key"],
  },
  linkOverrides: {
    table: "play_link_overrides",
    file: "unlinked-plays",
    columns: ["first_key", "second_key", "created_at"],
    withheld: ["user_id"],
    key: ["first_key", "second_key"],
  },
  imports: {
    table: "import_jobs",
    file: "imports",
    columns: [
      ...["id", "connection_id", "kind", "status", "source", "sources", "filename", "size_bytes", "sha256"],
      ...["dry_run", "options", "attempt", "error_code", "error_message", "totals"],
      ...["created_at", "started_at", "finished_at"],
    ],
    withheld: [
      ...["user_id", "blob_key", "options_hash", "batch_rows", "parser_version", "workflow_id", "version"],
      ...[
        "waiting_reason",
        "waiting_until",
        "start_attempts",
        "next_start_at",
        "parked_at",
        "blob_delete_after",
        "link_pending",
      ],
    ],
    key: ["id"],
  },
  sessions: {
    table: "sessions",
    file: "sessions",
    columns: [
      ...["id", "user_agent", "created_at", "last_used_at", "expires_at", "revoked_at", "revoked_reason"],
    ],
    withheld: ["user_id", "refresh_counter", "refresh_key", "rotated_at"],
    key: ["id"],
  },
  tokens: {
    table: "api_tokens",
    file: "tokens",
    columns: ["id", "name", "scopes", "last_used_at", "expires_at", "created_at", "revoked_at"],
    withheld: ["user_id", "token_hash"],
    key: ["id"],
  },
  connections: {
    table: "connections",
    file: "connections",
    columns: [
      ...["id", "provider", "account", "proven", "status", "every_minutes", "paused"],
      ...["created_at", "updated_at"],
    ],
    withheld: [
      ...[
        "refusals",
        "refused_since",
        "user_id",
        "access_token",
        "refresh_token",
        "token_key_id",
        "token_expires_at",
        "sync_cursor",
        "scheduled",
        "version",
      ],
    ],
    key: ["id"],
  },
  idempotencyKeys: {
    table: "idempotency_keys",
    file: "idempotency-keys",
    columns: ["key", "response_status", "response_headers", "response_body", "created_at"],
    withheld: ["user_id", "request_hash"],
    key: ["key"],
  },
} as const satisfies Record<string, ExportedTable>;

/** By `job_id`. */
export const IMPORT_TABLES = {
  parts: {
    table: "import_parts",
    file: "import-files",
    columns: [
      ...[
        "job_id",
        "part_no",
        "name",
        "format",
        "status",
        "bytes_total",
        "bytes_read",
        "error_code",
        "error_message",
      ],
      ...["read", "inserted", "duplicate", "skipped", "rejected", "linked", "started_at", "finished_at"],
    ],
    withheld: ["lost_attempts"],
    key: ["part_no"],
  },
  rows: {
    table: "import_rows",
    file: "import-rows",
    columns: ["job_id", "part_no", "position", "verdict", "reason", "message", "excerpt"],
    withheld: [],
    key: ["part_no", "position"],
  },
} as const satisfies Record<string, ExportedTable>;

/** Tables with plays or their owner in them that say nothing which the rest of an export does not, each with the reason. */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  import_batches: "marks of progress; what became of each record is in the plays and in import_rows",
  oauth_states: "authorizations that were begun within the last minutes",
  sync_runs: "how far a sync is; what it brought is in the plays",
  sync_gaps: "stretches of time that a provider told nothing about",
  stats_users: "of which state of the plays the sums are",
  stats_years: "sums over the plays, made from them and made again when they change",
  stats_moves: "notes for making those sums, deleted with the next",
  import_dry_keys: "keys that a dry run has met, gone with its upload",
};

/** Exported by plays.ts, with the names behind its ids. */
export const EXPORTED_PLAYS = "listening_history";

export const exportedTables = (): readonly Omit<ExportedTable, "key">[] => [
  ACCOUNT,
  ...Object.values(USER_TABLES),
  ...Object.values(IMPORT_TABLES),
];
