/**
 * Pages of a listening history, read as finished JSON text: one statement a page, whatever the filters.
 *
 * Each statement walks an index in the order of the page and stops after it. Two things keep the planner on
 * that way, also when it plans once for all values: names are looked up row by row (as joins, a large assumed
 * limit turns them into hash joins over the whole catalogue), and a filter by track name or album reads one
 * bounded run of plays for each track that can fit. A filter by import may have few hits in a long history, so
 * it walks the index of that import and no other. See docs/adr/0014.
 */
import { createHash } from "node:crypto";
import type pg from "pg";
import { PAGE_MAX_BYTES, Values } from "../lists.js";
import { type ListenFilters, NOT_INCOGNITO, ofOneRun, selectListens } from "./listenFilters.js";

/** Sort key of a play. `playedAt` is ISO 8601 in UTC with microseconds, as the database keeps it. */
export interface ListenPosition {
  readonly playedAt: string;
  readonly id: number;
}

export interface ListenPageRequest {
  readonly filters: ListenFilters;
  readonly order: "desc" | "asc";
  readonly limit: number;
  /** Where the page before this one ended, or how many plays to pass over; the start when neither is given. */
  readonly after?: ListenPosition;
  readonly offset?: number;
  /**
   * For readers other than the owner: leaves out plays of private sessions, and of the others which import they
   * came from and their context.
   */
  readonly hidePrivate: boolean;
}

export interface ListenPage {
  /** The plays as JSON objects, joined by commas. */
  readonly items: string;
  /** Position of the last play on this page; null when no play follows. */
  readonly next: ListenPosition | null;
  /** Whether it ends before its limit because the plays are very long. */
  readonly cut: boolean;
}

export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
  /** Present for the shapes worth keeping planned on a connection. */
  readonly name?: string;
}

/**
 * What makes a statement worth keeping planned on a connection. Others are planned each time (about 1 ms), so
 * that shapes cannot pile up in the server. The limit stands in the text: as a parameter it is taken for a tenth
 * of the history, and the plan for all values is never chosen.
 */
const PREPARED_LIMIT = 100;
const PREPARED_CONDITIONS = 2;
/** So many plays are some megabytes at worst; for more, bytes are counted. */
const BOUNDED_LIMIT = 100;

const instantText = (column: string, fraction: "MS" | "US"): string =>
  `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.${fraction}"Z"')`;

/** A play as JSON text, from a row `h` of listening_history. */
const listenJson = (hidePrivate: boolean): string => `(
  select row_to_json(l)::text from (select
    h.id,
    ${instantText("h.played_at", "MS")} as "playedAt",
    h.ms_played as "msPlayed",
    h.precision,
    h.source,
    h.counted,
    h.duplicate_of as "duplicateOf",
    ${hidePrivate ? "null" : "h.import_job_id"} as "importId",
    (select row_to_json(t) from (
      select id, title, duration_ms as "durationMs" from tracks where id = h.track_id) t) as track,
    (select row_to_json(a) from (select id, name from artists where id = h.artist_id) a) as artist,
    (select row_to_json(b) from (select id, title from albums where id = h.album_id) b) as album,
    ${hidePrivate ? "null" : "h.context"} as context,
    ${instantText("h.created_at", "MS")} as "createdAt",
    ${instantText("h.updated_at", "MS")} as "updatedAt"
  ) l)`;

/** The statement behind `listenPage`; exported so that a test can look at its plan. */
export function listenPageStatement(request: ListenPageRequest): Statement {
  const values = new Values();
  const { conditions: filters, tracks } = selectListens(request.filters, request.hidePrivate, values);
  const conditions = [...filters];
  const forwards = request.order === "asc";
  if (request.after !== undefined) {
    const at = `${values.add(request.after.playedAt)}::timestamptz`;
    const id = `${values.add(request.after.id)}::bigint`;
    conditions.push(`(h.played_at, h.id) ${forwards ? ">" : "<"} (${at}, ${id})`);
  }
  const order = forwards ? "h.played_at, h.id" : "h.played_at desc, h.id desc";
  const limit = wholeNumber(request.limit);
  const offset = wholeNumber(request.offset ?? 0);
  const run = (rows: number, more?: string): string => `
    select h.* from listening_history h
    where ${[...conditions, ...(more === undefined ? [] : [more])].join(" and ")}
    order by ${order} limit ${ofOneRun(request.filters) ? `(select ${rows})` : rows}`;
  const page =
    tracks === null
      ? run(offset + limit + 1)
      : `select h.* from (${tracks}) named
         cross join lateral (${run(offset + limit + 1, "h.track_id = named.id")}) h`;
  const rows = `
      select row_number() over (order by ${order}) as n, h.id, h.played_at,
        ${listenJson(request.hidePrivate)} as item
      from (select * from (${page}) h order by ${order} offset ${offset} limit ${limit + 1}) h`;
  const text =
    limit <= BOUNDED_LIMIT
      ? `
    select
      coalesce(string_agg(p.item, ',' order by p.n) filter (where p.n <= ${limit}), '') as items,
      count(*)::integer as found, least(count(*), ${limit})::integer as shown,
      max(${instantText("p.played_at", "US")}) filter (where p.n = ${limit}) as last_played_at,
      max(p.id) filter (where p.n = ${limit}) as last_id
    from (${rows}) p`
      : `
    select
      coalesce(string_agg(p.item, ',' order by p.n) filter (where p.shown), '') as items,
      count(*)::integer as found, count(*) filter (where p.shown)::integer as shown,
      (array_agg(${instantText("p.played_at", "US")} order by p.n desc) filter (where p.shown))[1] as last_played_at,
      (array_agg(p.id order by p.n desc) filter (where p.shown))[1] as last_id
    from (
      select r.*, r.n <= ${limit}
          and sum(octet_length(r.item)) over (order by r.n) - octet_length(r.item) < ${PAGE_MAX_BYTES} as shown
      from (${rows}) r
    ) p`;
  const filtersUsed = Object.values(request.filters).filter((value) => value !== undefined).length - 2;
  const hot = limit === PREPARED_LIMIT && offset === 0 && filtersUsed <= PREPARED_CONDITIONS;
  return { text, values: values.list, ...(hot ? { name: nameOf(text) } : {}) };
}

/** For what becomes part of a statement's text. */
function wholeNumber(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError("Expected a whole number");
  return value;
}

/** PostgreSQL takes one text for one name. */
const nameOf = (text: string): string =>
  `listens-${createHash("sha256").update(text).digest("hex").slice(0, 16)}`;

interface PageRow {
  readonly items: string;
  readonly found: number;
  readonly shown: number;
  readonly last_played_at: string | null;
  readonly last_id: number | null;
}

export async function listenPage(pool: pg.Pool, request: ListenPageRequest): Promise<ListenPage> {
  const row = await one<PageRow>(pool, listenPageStatement(request));
  const { items, found, shown } = row;
  const more = found > shown && row.last_played_at !== null && row.last_id !== null;
  return {
    items,
    next: more ? { playedAt: row.last_played_at, id: row.last_id } : null,
    cut: shown < Math.min(found, request.limit),
  };
}

/** Counting goes no further: a hundredth of a second, however long the history. */
export const TOTAL_MAX = 100_000;

/** How many plays fit, at most `TOTAL_MAX + 1`, which stands for any more. */
export async function listenTotal(
  pool: pg.Pool,
  { filters, hidePrivate }: Pick<ListenPageRequest, "filters" | "hidePrivate">,
): Promise<number> {
  const values = new Values();
  const { conditions, tracks } = selectListens(filters, hidePrivate, values);
  const where = [...conditions, ...(tracks === null ? [] : [`h.track_id in (${tracks})`])].join(" and ");
  const row = await one<{ total: number }>(pool, {
    text: `select count(*) as total
             from (select from listening_history h where ${where} limit ${TOTAL_MAX + 1}) found`,
    values: values.list,
  });
  return row.total;
}

export interface FoundListen {
  /** The play as JSON text. */
  readonly item: string;
  /** Whether it is the reader's. */
  readonly own: boolean;
}

/** Null when there is no such play that `readerId` may see. */
export async function listenById(
  client: Pick<pg.ClientBase, "query">,
  id: number,
  readerId: string,
): Promise<FoundListen | null> {
  const { rows } = await client.query<FoundListen>({
    name: "listen-by-id",
    text: `
      select h.user_id = $2 as own,
             case when h.user_id = $2 then ${listenJson(false)} else ${listenJson(true)} end as item
      from listening_history h join users u on u.id = h.user_id
      where h.id = $1 and (h.user_id = $2
        or (u.history_visibility = 'public' and u.disabled_at is null and ${NOT_INCOGNITO}))`,
    values: [id, readerId],
  });
  return rows[0] ?? null;
}

/** Whether anybody who is signed in may read this user's history. */
export async function isHistoryPublic(pool: pg.Pool, userId: string): Promise<boolean> {
  const { rows } = await pool.query({
    name: "history-is-public",
    text: "select from users where id = $1 and history_visibility = 'public' and disabled_at is null",
    values: [userId],
  });
  return rows.length > 0;
}

async function one<Row extends pg.QueryResultRow>(pool: pg.Pool, statement: Statement): Promise<Row> {
  const { rows } = await pool.query<Row>({ ...statement, values: [...statement.values] });
  const [row] = rows;
  if (row === undefined) throw new Error("An aggregate over any rows gives one row");
  return row;
}
