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
import { UnavailableError } from "../utils/errors.js";
import { databaseSettings } from "../test/support/database.js";
import { loadCatalogue, type MadeCatalogue, makeCatalogue } from "./support/catalogueGenerator.js";
import { random } from "./support/spotifyArchive.js";
import { median, percentile, ratio } from "./support/statistics.js";

const QUERIES = 240;
const LIMIT = 20;
const GOALS = { found: 0.8, ratio: 2 };
const TYPO_MIN_LENGTH = 4;
const LETTERS = "abcdefghijklmnopqrstuvwxyz";

interface Query {
  readonly text: string;
  readonly meant: readonly string[];
  readonly slip: boolean;
  /** Whether one of its words is among the most common. */
  readonly common: boolean;
}

interface Engine {
  readonly name: string;
  /** The words of each row that it gives. */
  ask(text: string): Promise<readonly string[]>;
  readonly ms: number[];
  /** Of queries without common words: what a design that sorts all that fits is best at. */
  readonly rareMs: number[];
  readonly found: { plain: number; slip: number };
  /** Queries that were given up: each counts with the time that took. */
  readonly failed: string[];
}

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

async function makePlain(client: pg.Client): Promise<void> {
  await client.query(`
    create table plain_search as
    select t.id, t.title, a.name as artist, t.popularity, to_tsvector('simple', t.title || ' ' || a.name) as words
      from tracks t join artists a on a.id = t.artist_id`);
  await client.query("create index plain_search_words on plain_search using gin (words)");
  await client.query("vacuum (analyze) plain_search");
  await client.query("set jit = off; set max_parallel_workers_per_gather = 0");
}

async function sizes(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string; mb: string }>(
    `select relname as name, round(pg_relation_size(oid) / 1e6, 1)::text as mb from pg_class
      where relname ~ '^(search|plain)_' and relkind in ('r', 'i') and pg_relation_size(oid) > 1e5
      order by relname collate "C"`,
  );
  console.log(rows.map((row) => `${row.name} ${row.mb} MB`).join(", "));
}

/** Half of a track that is played, half of any. */
function makeQueries(made: MadeCatalogue): Query[] {
  const next = random(7);
  const queries: Query[] = [];
  while (queries.length < QUERIES) {
    const index = next() < 0.5 ? made.drawPlayed() : Math.floor(next() * made.titles.length);
    const { title, artist } = made.track(index);
    const words = [...new Set(`${title} ${artist}`.split(" "))];
    const first = Math.floor(next() * words.length);
    const meant = words.slice(first, first + 1 + Math.floor(next() * 3));
    const slip = queries.length % 2 === 1;
    const common = meant.some((word) => made.common.has(word));
    if (!slip) {
      queries.push({ text: meant.join(" "), meant, slip, common });
      continue;
    }
    const long = meant.filter((word) => word.length >= TYPO_MIN_LENGTH);
    const wrong = long[Math.floor(next() * long.length)];
    if (wrong === undefined) continue;
    const text = meant.map((word) => (word === wrong ? misspelt(word, next) : word)).join(" ");
    queries.push({ text, meant, slip, common });
  }
  return queries;
}

function misspelt(word: string, next: () => number): string {
  const letters = [...word];
  const at = Math.floor(next() * letters.length);
  const letter = LETTERS[Math.floor(next() * LETTERS.length)] as string;
  switch (Math.floor(next() * 4)) {
    case 0:
      letters.splice(at, 1);
      break;
    case 1:
      letters.splice(at, 0, letter);
      break;
    case 2:
      letters[at] = letter;
      break;
    default: {
      const other = Math.min(at + 1, letters.length - 1);
      [letters[at], letters[other]] = [letters[other] as string, letters[at] as string];
    }
  }
  const text = letters.join("");
  return text === word ? misspelt(word, next) : text;
}

function plainEngine(client: pg.Client): Engine {
  const ask = async (text: string): Promise<readonly string[]> => {
    const words = text.split(" ");
    const query = words
      .map((word, index) => (index === words.length - 1 ? `'${word}':*` : `'${word}'`))
      .join(" & ");
    const { rows } = await client.query<{ title: string; artist: string }>(
      `select id, title, artist, popularity from plain_search where words @@ $1::tsquery
        order by popularity desc limit ${LIMIT}`,
      [query],
    );
    return rows.map(({ title, artist }) => `${title} ${artist}`);
  };
  return { name: "plain tsvector", ask, ms: [], rareMs: [], found: { plain: 0, slip: 0 }, failed: [] };
}

function playlogEngine(service: SearchService, types: readonly ["track"] | [] = []): Engine {
  const entities = types.length === 0 ? (["artist", "album", "track"] as const) : types;
  const ask = async (text: string): Promise<readonly string[]> => {
    const { data } = await service.search({ q: text, entities, limit: LIMIT });
    return data.map((result) => {
      switch (result.type) {
        case "artist":
          return result.item.name;
        case "album":
        case "track":
          return `${result.item.title} ${result.item.artist.name}`;
      }
    });
  };
  const name = types.length === 0 ? "playlog, all types" : "playlog, tracks";
  return { name, ask, ms: [], rareMs: [], found: { plain: 0, slip: 0 }, failed: [] };
}

async function compare(engines: readonly Engine[], queries: readonly Query[], rounds: number): Promise<void> {
  const ratios: number[][] = engines.map(() => []);
  for (let round = 0; round <= rounds; round += 1) {
    const inRound: number[][] = engines.map(() => []);
    for (const [index, query] of queries.entries()) {
      for (let turn = 0; turn < engines.length; turn += 1) {
        const at = (turn + index + round) % engines.length;
        const engine = engines[at] as Engine;
        const begun = performance.now();
        const rows = await engine.ask(query.text).catch((error: unknown) => {
          if (!(error instanceof UnavailableError)) throw error;
          engine.failed.push(query.text);
          return [];
        });
        const ms = performance.now() - begun;
        if (round === 0) {
          // Not timed: what is on disk comes into memory.
          const hit = rows.some((row) => query.meant.every((word) => row.split(" ").includes(word)));
          if (hit) engine.found[query.slip ? "slip" : "plain"] += 1;
          continue;
        }
        inRound[at]?.push(ms);
        engine.ms.push(ms);
        if (!query.common) engine.rareMs.push(ms);
      }
    }
    if (round === 0) continue;
    const [base] = inRound as [number[], ...number[][]];
    for (const [at, values] of inRound.entries())
      ratios[at]?.push(percentile(values, 0.95) / percentile(base, 0.95));
  }
  report(engines, ratios, queries);
}

function report(engines: readonly Engine[], ratios: readonly number[][], queries: readonly Query[]): void {
  const slips = queries.filter(({ slip }) => slip).length;
  const share = (found: number, of: number): string => `${((100 * found) / of).toFixed(0)} %`;
  console.log(`${queries.length} queries, ${slips} with one slip; ms`);
  for (const [at, { name, ms, found }] of engines.entries()) {
    const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => percentile(ms, q).toFixed(1));
    const spread = ratios[at] as number[];
    console.log(
      `  ${name.padEnd(20)} p50 ${p50} p95 ${p95} p99 ${p99}  p95 / plain ${ratio(median(spread))} ` +
        `(${ratio(Math.min(...spread))}-${ratio(Math.max(...spread))})  found ${share(found.plain, queries.length - slips)}, ` +
        `with a slip ${share(found.slip, slips)}`,
    );
  }
  const rare = queries.filter(({ common }) => !common).length;
  const [plain] = engines as readonly [Engine, ...Engine[]];
  for (const { name, rareMs } of engines) {
    const [p50, p95] = [0.5, 0.95].map((q) => percentile(rareMs, q));
    console.log(
      `  ${name.padEnd(20)} the ${rare} without a common word: p50 ${(p50 as number).toFixed(1)} p95 ${(p95 as number).toFixed(1)}, ` +
        `${ratio((p95 as number) / percentile(plain.rareMs, 0.95))} of plain`,
    );
  }
  for (const { name, failed } of engines)
    if (failed.length > 0)
      console.log(`  ${name}: given up ${failed.length} times: ${[...new Set(failed)].join("; ")}`);
  const playlog = engines[1] as Engine;
  const reached = playlog.found.slip / slips >= GOALS.found && median(ratios[1] as number[]) <= GOALS.ratio;
  console.log(`  goals (>= 80 % of slips found, p95 at most 2x): ${reached ? "reached" : "MISSED"}`);
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
