/**
 * `npm run bench -- schema [rows] [rounds] [names]`, `names` a pattern of the tables to measure beside the two main ones
 *
 * What the constraints and indexes of listening_history cost an import: the same rows are copied into the finished
 * table, into the floor (the same columns with nothing but unique (user_id, source_key), an index on track_id and
 * foreign keys to users and tracks), and into the finished table with one foreign key or index left out at a time.
 * Every table is filled once a round, in turns, so that a slow minute hits all of them; figures are medians over the
 * rounds, ratios and differences are taken within a round. Processor time of the server process is told beside the time
 * on the clock: it says nearly the same on a quiet machine, and still something on a busy one.
 *
 * The rows are in memory and sent as they are (COPY FROM STDIN): the client costs every table the same, next to nothing.
 */
import { readFile } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { migrateToLatest } from "../db/migrate.js";
import { playRows } from "./support/playRows.js";
import type { PlayRows } from "./support/playRows.js";
import { median } from "./support/statistics.js";

const USER_ID = "018f0000-0000-7000-8000-000000000001";
const JOB_ID = "018f0000-0000-7000-8000-000000000002";
const GOAL = 0.45;
const FLOOR = "floor";
const FINISHED = "finished";

/** A table to fill, and how it is made. */
interface Variant {
  readonly name: string;
  readonly table: string;
  readonly ddl: readonly string[];
}

interface Measurement {
  readonly seconds: number;
  /** Of the server process that copied; null where the server is on another machine. */
  readonly cpuSeconds: number | null;
}

/** Runs the benchmark against DATABASE_URL, in a database of its own, and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const count = Number(args[0] ?? 250_000);
  const rounds = Number(args[1] ?? 5);
  const names = new RegExp(args[2] ?? "", "i");
  const serverUrl = process.env["DATABASE_URL"];
  if (serverUrl === undefined || serverUrl === "") throw new Error("DATABASE_URL is required");
  const admin = await connect(serverUrl);
  const name = `playlog_bench_schema_${process.pid}`;
  try {
    await admin.query(`create database ${name}`);
    const url = new URL(serverUrl);
    url.pathname = `/${name}`;
    await migrateToLatest(url.href);
    const client = await connect(url.href);
    try {
      await measureAll(client, playRows(count, USER_ID, JOB_ID), { count, rounds, names });
    } finally {
      await client.end();
    }
  } finally {
    await admin.query(`drop database if exists ${name} with (force)`);
    await admin.end();
  }
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: "playlog-bench" });
  await client.connect();
  return client;
}

async function measureAll(
  client: pg.Client,
  rows: PlayRows,
  { count, rounds, names }: { count: number; rounds: number; names: RegExp },
): Promise<void> {
  await loadCatalogue(client, rows);
  const variants = (await makeVariants(client)).filter(
    ({ name }) => name === FLOOR || name === FINISHED || names.test(name),
  );
  const { rows: settings } = await client.query<{ version: string; fsync: string }>(
    "select current_setting('server_version') as version, current_setting('fsync') as fsync",
  );
  const { distinct } = rows;
  console.log(
    `${count.toLocaleString("en")} plays of one user in time order, ${distinct.tracks} tracks, ${distinct.artists} artists, ` +
      `${distinct.albums} albums; PostgreSQL ${settings[0]?.version ?? "?"}, fsync ${settings[0]?.fsync ?? "?"}; ` +
      `${variants.length} tables, ${rounds} rounds`,
  );
  const pid = await localBackendPid(client);
  const results = new Map<string, Measurement[]>(variants.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another table, so that none always runs after the same neighbour.
    const turn = variants.map((_, index) => variants[(index + round) % variants.length] as Variant);
    for (const variant of turn) {
      const measurement = await fill(client, variant, rows, pid);
      results.get(variant.name)?.push(measurement);
    }
    const [floor, finished] = [FLOOR, FINISHED].map((name) => results.get(name)?.at(-1));
    if (floor && finished) {
      console.log(`round ${round + 1}: finished / floor = ${(floor.seconds / finished.seconds).toFixed(3)}`);
    }
  }
  report(variants, results, count);
}

async function loadCatalogue(client: pg.Client, rows: PlayRows): Promise<void> {
  await client.query(
    `insert into users (id, email, username, password_hash) values ($1, 'bench@example.org', 'bench', '')`,
    [USER_ID],
  );
  await copy(client, "artists (name, name_key)", rows.artists);
  await copy(client, "albums (artist_id, title, title_key)", rows.albums);
  await copy(client, "tracks (artist_id, title, title_key, loose_key)", rows.tracks);
  await client.query("vacuum (analyze) users, artists, albums, tracks");
}

async function copy(client: pg.Client, target: string, pieces: readonly Buffer[]): Promise<void> {
  const sink = client.query(copyFrom(`copy ${target} from stdin`));
  await pipeline(Readable.from(pieces, { objectMode: false, highWaterMark: 1 << 20 }), sink);
}

/** Read from the catalogue of the migrated database, so that this follows the schema by itself. */
async function makeVariants(client: pg.Client): Promise<Variant[]> {
  const { rows: foreignKeys } = await client.query<{ name: string; definition: string }>(
    `select conname as name, pg_get_constraintdef(oid) as definition
       from pg_constraint where conrelid = 'listening_history'::regclass and contype = 'f' order by conname`,
  );
  const { rows: keys } = await client.query<{ name: string; definition: string }>(
    `select conname as name, pg_get_constraintdef(oid) as definition
       from pg_constraint where conrelid = 'listening_history'::regclass and contype in ('p', 'u') order by conname`,
  );
  const { rows: indexes } = await client.query<{ name: string; definition: string }>(
    `select c.relname as name, pg_get_indexdef(i.indexrelid) as definition
       from pg_index i join pg_class c on c.oid = i.indexrelid
      where i.indrelid = 'listening_history'::regclass
        and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u'))
      order by c.relname`,
  );
  const make = (
    name: string,
    without: readonly string[],
    extra: (table: string) => readonly string[] = () => [],
  ) => {
    const table = `bench_${name.replace(/\W+/g, "_")}`;
    // A reference of the table to itself must stay one.
    const own = (definition: string) => definition.replace(/\blistening_history\b/g, table);
    const kept = ({ name: part }: { name: string }) => !without.includes(part);
    return {
      name,
      table,
      ddl: [
        `create table ${table} (like listening_history including all excluding indexes)`,
        ...keys.filter(kept).map((key) => `alter table ${table} add ${key.definition}`),
        ...indexes
          .filter(kept)
          .map((index) => own(index.definition).replace(/^(CREATE (?:UNIQUE )?INDEX) \S+/, "$1")),
        ...foreignKeys.filter(kept).map((key) => `alter table ${table} add ${own(key.definition)}`),
        ...extra(table),
      ],
    };
  };
  return [
    {
      name: FLOOR,
      table: "bench_floor",
      ddl: [
        "create table bench_floor (like listening_history including defaults including identity)",
        "alter table bench_floor add unique (user_id, source_key)",
        "create index on bench_floor (track_id)",
        "alter table bench_floor add foreign key (user_id) references users (id) on delete cascade",
        "alter table bench_floor add foreign key (track_id) references tracks (id)",
      ],
    },
    make(FINISHED, []),
    ...foreignKeys.map(({ name }) => make(`without ${name}`, [name])),
    // The table's own foreign key needs the primary key: its price is what this saves beyond that key alone.
    make("without plays_duplicate_of and listening_history_pkey", [
      "plays_duplicate_of",
      "listening_history_pkey",
    ]),
    ...keys.filter(({ name }) => name === "plays_once").map(({ name }) => make(`without ${name}`, [name])),
    ...indexes.map(({ name }) => make(`without ${name}`, [name])),
    make("with plays_by_album on the album alone", ["plays_by_album"], (table) => [
      `create index on ${table} (album_id) where album_id is not null`,
    ]),
    make("with two plain foreign keys for track and artist", ["plays_track"], (table) => [
      `alter table ${table} add foreign key (track_id) references tracks (id)`,
      `alter table ${table} add foreign key (artist_id) references artists (id)`,
    ]),
  ];
}

async function fill(
  client: pg.Client,
  variant: Variant,
  rows: PlayRows,
  pid: number | null,
): Promise<Measurement> {
  for (const statement of variant.ddl) await client.query(statement);
  await client.query("checkpoint");
  const cpuBefore = pid === null ? null : await cpuSeconds(pid);
  const begun = process.hrtime.bigint();
  await copy(client, `${variant.table} (${rows.columns.join(", ")})`, rows.plays);
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  const cpuAfter = pid === null ? null : await cpuSeconds(pid);
  await client.query(`drop table ${variant.table}`);
  return { seconds, cpuSeconds: cpuBefore === null || cpuAfter === null ? null : cpuAfter - cpuBefore };
}

/** Null unless the server runs on this machine, on Linux, and its processes may be looked at. */
async function localBackendPid(client: pg.Client): Promise<number | null> {
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const pid = rows[0]?.pid ?? 0;
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return command.startsWith("postgres") ? pid : null;
}

/** User and system time of a process, in steps of 10 ms. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function report(
  variants: readonly Variant[],
  results: ReadonlyMap<string, readonly Measurement[]>,
  count: number,
): void {
  type Pick = (measurement: Measurement) => number;
  const clock: Pick = ({ seconds }) => (seconds / count) * 1e6;
  const cpu: Pick = ({ cpuSeconds }) => ((cpuSeconds ?? Number.NaN) / count) * 1e6;
  /** `combine` of a table and of another one in the same round, for all rounds. */
  const paired = (
    name: string,
    other: string,
    pick: Pick,
    combine: (a: number, b: number) => number,
  ): number[] => {
    const others = results.get(other) ?? [];
    return (results.get(name) ?? []).flatMap((measurement, round) => {
      const base = others[round];
      return base === undefined ? [] : [combine(pick(measurement), pick(base))];
    });
  };
  const speed = (own: number, floor: number) => floor / own;
  const saving = (own: number, finished: number) => finished - own;
  const middle = (values: readonly number[], digits: number) =>
    values.some(Number.isNaN) ? "-" : median(values).toFixed(digits);
  const spread = (values: readonly number[]) =>
    values.some(Number.isNaN)
      ? "-"
      : `${middle(values, 2)} (${Math.min(...values).toFixed(2)}-${Math.max(...values).toFixed(2)})`;

  console.log(`
| table | rows/s | speed against the floor (least-most) | us/row saved | server CPU us/row | saved |
| --- | ---: | --- | ---: | ---: | ---: |`);
  for (const { name } of variants) {
    const measurements = results.get(name) ?? [];
    console.log(
      `| ${name} | ${(1e3 / median(measurements.map(clock))).toFixed(1)}k ` +
        `| ${spread(paired(name, FLOOR, clock, speed))} | ${middle(paired(name, FINISHED, clock, saving), 1)} ` +
        `| ${middle(measurements.map(cpu), 1)} | ${middle(paired(name, FINISHED, cpu, saving), 1)} |`,
    );
  }
  const ratios = paired(FINISHED, FLOOR, clock, speed);
  console.log(`
finished / floor: ${spread(ratios)}, goal ${GOAL}: ${median(ratios) >= GOAL ? "reached" : "MISSED"}
by server CPU: ${spread(paired(FINISHED, FLOOR, cpu, speed))}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await run(process.argv.slice(2));
