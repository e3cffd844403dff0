/**
 * `npm run bench -- search [tracks] [rounds]`
 *
 * Searching as the api does it against the plainest thing that PostgreSQL offers: a tsvector of title and artist under a
 * GIN index, all words and the last one as a prefix, most popular first. Both are asked the same queries, in turns, by one
 * client: one to three words of a track, every other query with one slip. A query has found what was meant when one of its
 * twenty rows has all the words that were meant. Then what the index costs those who write the catalogue.
 */
import pg from "pg";
import { createDatabase } from "../db/knex.js";
import { migrateToLatest } from "../db/migrate.js";
import { primaryReads } from "../db/replica.js";
import { rebuildSearchIndex } from "../services/search/rebuild.js";
import { SearchService } from "../services/search/SearchService.js";
import { updateSearchIndex } from "../services/search/upkeep.js";
import { databaseSettings } from "../test/support/database.js";
import { loadCatalogue, makeCatalogue } from "./support/catalogueGenerator.js";
import { compare } from "./support/search/comparison.js";
import { LIMIT, makePlain, plainEngine, playlogEngine } from "./support/search/engines.js";
import { LETTERS, makeQueries } from "./support/search/queries.js";
import { median } from "./support/statistics.js";

/** Runs the benchmark against DATABASE_URL, in a database of its own, and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const tracks = Number(args[0] ?? 1_000_000);
  const rounds = Number(args[1] ?? 5);
  const serverUrl = process.env["DATABASE_URL"];
  if (serverUrl === undefined || serverUrl === "") throw new Error("DATABASE_URL is required");
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  const name = `playlog_bench_search_${process.pid}`;
  await admin.query(`create database ${name}`);
  try {
    const url = new URL(serverUrl);
    url.pathname = `/${name}`;
    await migrateToLatest(url.href);
    await measure(url.href, tracks, rounds);
  } finally {
    await admin.query(`drop database if exists ${name} with (force)`);
    await admin.end();
  }
}

async function measure(url: string, tracks: number, rounds: number): Promise<void> {
  const made = await timed(`${tracks.toLocaleString("en")} tracks made`, () =>
    Promise.resolve(makeCatalogue({ tracks })),
  );
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const database = createDatabase(
    { ...databaseSettings(url), statementTimeoutMs: 30 * 60_000 },
    { applicationName: "playlog-bench" },
  );
  const { pool } = database;
  try {
    await timed("loaded", () => loadCatalogue(client, made));
    const { documents, words } = await timed("search index built", () => rebuildSearchIndex(pool));
    await timed("plain index built", () => makePlain(client));
    await pool.query("vacuum (analyze) search_documents, search_words");
    await sizes(client);
    console.log(`${documents.toLocaleString("en")} documents, ${words.toLocaleString("en")} words\n`);
    const queries = makeQueries(made);
    const service = new SearchService({ reads: primaryReads(pool), parallel: 5 });
    await compare(
      [plainEngine(client), playlogEngine(service, ["track"]), playlogEngine(service)],
      queries,
      rounds,
    );
    await manyAtOnce(service);
    await costOfNotes(client);
    await costOfUpkeep(pool);
  } finally {
    await client.end();
    await database.close();
  }
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const begun = performance.now();
  const result = await work();
  console.log(`${what} in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
  return result;
}

async function sizes(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string; mb: string }>(
    `select relname as name, round(pg_relation_size(oid) / 1e6, 1)::text as mb from pg_class
      where relname ~ '^(search|plain)_' and relkind in ('r', 'i') and pg_relation_size(oid) > 1e5
      order by relname collate "C"`,
  );
  console.log(rows.map((row) => `${row.name} ${row.mb} MB`).join(", "));
}

async function manyAtOnce(service: SearchService): Promise<void> {
  const lone: number[] = [];
  for (const q of LETTERS) {
    const started = performance.now();
    await service.search({ q, entities: ["album"], limit: LIMIT });
    lone.push(performance.now() - started);
  }
  console.log(`\na letter in a kind of which there is nothing: at most ${Math.max(...lone).toFixed(0)} ms`);
  const entities = ["artist", "album", "track"] as const;
  const begun = performance.now();
  const ms = await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      await service.search({ q: LETTERS[index % LETTERS.length] as string, entities, limit: LIMIT });
      return performance.now() - begun;
    }),
  );
  console.log(
    `100 searches of one letter at once: the first after ${Math.min(...ms).toFixed(0)} ms, all after ${Math.max(...ms).toFixed(0)} ms`,
  );
}

const BATCH = 10_000;
const BATCHES = 7;

/** Inserts as an import makes them, with the triggers on and off in turns. */
async function costOfNotes(client: pg.Client): Promise<void> {
  const us: Record<"on" | "off", number[]> = { on: [], off: [] };
  let made = 0;
  for (let round = 0; round < BATCHES; round += 1) {
    for (const state of round % 2 === 0 ? (["on", "off"] as const) : (["off", "on"] as const)) {
      await client.query(
        `alter table tracks ${state === "on" ? "enable" : "disable"} trigger tracks_search_insert`,
      );
      made += 1;
      const begun = performance.now();
      await client.query(
        `insert into tracks (artist_id, title, title_key, loose_key)
         select 2 + n % 1000, 'new ' || $1 || ' ' || n, 'new ' || $1 || ' ' || n, 'loose ' || $1 || n
           from generate_series(1, ${BATCH}) n`,
        [String(made)],
      );
      us[state].push(((performance.now() - begun) * 1000) / BATCH);
    }
  }
  await client.query("alter table tracks enable trigger tracks_search_insert");
  const differences = us.on.map((value, index) => value - (us.off[index] as number));
  console.log(
    `a new track: ${median(us.off).toFixed(1)} us without a note of it, ${median(us.on).toFixed(1)} us with one; ` +
      `difference in turns ${median(differences).toFixed(2)} us`,
  );
}

async function costOfUpkeep(pool: pg.Pool): Promise<void> {
  const begun = performance.now();
  let rows = 0;
  for (;;) {
    const some = await updateSearchIndex(pool);
    if (some === 0) break;
    rows += some;
  }
  const seconds = (performance.now() - begun) / 1000;
  console.log(
    `indexing afterwards: ${rows} new tracks in ${seconds.toFixed(1)} s, ${Math.round(rows / seconds)} a second`,
  );
}
