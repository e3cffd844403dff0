/** Everything playlog keeps about a person, as one archive that is made while it is sent. See docs/adr/0013. */
import type { Readable } from "node:stream";
import type { Pool } from "pg";
import { accountOf, historyOf, readVersions } from "../../../db/queries/cacheVersions.js";
import { NotFoundError } from "../../../utils/errors.js";
import { PLAY_CSV_HEAD, playCsv, playRecord, playsOf } from "./plays.js";
import { type ExportRecord, jsonLines, recordsOf, toRecord } from "./records.js";
import { ACCOUNT, type ExportedTable, IMPORT_TABLES, USER_TABLES } from "./tables.js";
import { type ZipEntry, zipStream } from "./zip.js";

export interface Export {
  /** For saving it: ASCII letters, digits, dots, hyphens and underscores. */
  readonly filename: string;
  /** A ZIP archive, to be destroyed by whoever does not read it to its end. Fails with what the database throws. */
  readonly archive: Readable;
}

const README = `This is everything that playlog keeps about you.

profile.json             your account
listening-history.jsonl  your plays, oldest first: one JSON object a line. "source" and "sourceKey" tell a play
                         from all others; an import recognises it by them.
listening-history.csv    the same plays for a spreadsheet. Text that a spreadsheet would take for a formula has an
                         apostrophe in front.
deleted-plays.jsonl      plays you deleted, which imports do not bring back
unlinked-plays.jsonl     pairs of plays that you said are two
imports.jsonl            your imports; import-files.jsonl their files; import-rows.jsonl the records that were not imported
sessions.jsonl           where you are and were logged in
tokens.jsonl             your API tokens, without the tokens
connections.jsonl        your accounts at other services, without their tokens
idempotency-keys.jsonl   answers kept for repeated requests
manifest.json            how many rows each file has. "changedMeanwhile" is true when something was written while this
                         was made: then a play that was moved in time may be missing or be there twice.

Times are UTC, durations are milliseconds.
`;

/** Rows by file, for the manifest. */
type Counts = Record<string, number>;

export class ExportService {
  readonly #pool: Pool;

  constructor({ pool }: { readonly pool: Pool }) {
    this.#pool = pool;
  }

  /** Throws `NotFoundError` when the account is gone; reads nothing else yet. */
  async open(userId: string): Promise<Export> {
    const found = await this.#pool.query<Record<string, unknown> & { username: string }>(
      `select ${ACCOUNT.columns.join(", ")} from ${ACCOUNT.table} where id = $1`,
      [userId],
    );
    const account = found.rows[0];
    if (account === undefined) throw new NotFoundError();
    const at = new Date();
    return {
      filename: `playlog-${account.username}-${at.toISOString().slice(0, 10)}.zip`,
      archive: zipStream(this.#files(userId, toRecord(account), at), at),
    };
  }

  async *#files(userId: string, account: ExportRecord, at: Date): AsyncGenerator<ZipEntry> {
    const counts: Counts = {};
    const before = await this.#version(userId);
    yield { name: "README.txt", content: [README] };
    yield { name: `${ACCOUNT.file}.json`, content: [pretty(account)] };
    yield file("listening-history.jsonl", counts, playsOf(this.#pool, userId), (plays) =>
      jsonLines(plays.map(playRecord)),
    );
    yield file(
      "listening-history.csv",
      counts,
      playsOf(this.#pool, userId),
      (plays) => plays.map(playCsv).join(""),
      PLAY_CSV_HEAD,
    );
    for (const table of Object.values(USER_TABLES))
      yield file(`${table.file}.jsonl`, counts, this.#ofUser(table, userId), jsonLines);
    for (const table of Object.values(IMPORT_TABLES))
      yield file(`${table.file}.jsonl`, counts, this.#ofImports(table, userId), jsonLines);
    const changedMeanwhile = before !== (await this.#version(userId));
    yield { name: "manifest.json", content: [pretty({ exportedAt: at, changedMeanwhile, rows: counts })] };
  }

  #ofUser(table: ExportedTable, userId: string): AsyncGenerator<readonly ExportRecord[]> {
    return recordsOf(this.#pool, table, { column: "user_id", id: userId });
  }

  async *#ofImports(table: ExportedTable, userId: string): AsyncGenerator<readonly ExportRecord[]> {
    for await (const page of this.#ofUser(USER_TABLES.imports, userId))
      for (const { id } of page) yield* recordsOf(this.#pool, table, { column: "job_id", id: String(id) });
  }

  /** Of account and history. */
  async #version(userId: string): Promise<string> {
    return (await readVersions(this.#pool, [accountOf(userId), historyOf(userId)])).join(" ");
  }
}

/** @param head stands before the first page */
function file<T>(
  name: string,
  counts: Counts,
  pages: AsyncIterable<readonly T[]>,
  write: (rows: readonly T[]) => string,
  head = "",
): ZipEntry {
  async function* content(): AsyncGenerator<string> {
    counts[name] = 0;
    yield head;
    for await (const page of pages) {
      counts[name] = (counts[name] ?? 0) + page.length;
      yield write(page);
    }
  }
  return { name, content: content() };
}

const pretty = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
