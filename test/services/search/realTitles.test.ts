import { expect } from "chai";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { primaryReads } from "../../../db/replica.js";
import { rebuildSearchIndex } from "../../../services/search/rebuild.js";
import { SearchService } from "../../../services/search/SearchService.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { insertTracks, type TrackSpec } from "./support.js";

/** Real titles, kept beside the repository because they are not ours to publish. */
const FILE = path.resolve(import.meta.dirname, "../../../../shared/fixtures/catalog/spotify_songs.csv");
/** Of some 28,000: enough words to be mistaken for others. */
const TRACKS = 8000;
const QUERIES = 100;
const GOAL = 0.8;
const MIN_LENGTH = 4;
const LETTERS = "etaoinshrdlu";

/** Fields between commas, some in quotes, none over several lines. */
function fieldsOf(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain = ""]) =>
    quoted === undefined ? plain : quoted.replaceAll('""', '"'),
  );
}

/** The same numbers every time. */
function numbers(): (below: number) => number {
  let state = 12345;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}

function misspelt(word: string, next: (below: number) => number): string {
  const letters = [...word];
  const at = next(letters.length);
  const letter = LETTERS[next(LETTERS.length)] as string;
  const kind = next(4);
  if (kind === 0) letters.splice(at, 1);
  else if (kind === 1) letters.splice(at, 0, letter);
  else if (kind === 2) letters[at] = letter;
  else if (at + 1 < letters.length) letters.splice(at, 2, letters[at + 1] as string, letters[at] as string);
  const made = letters.join("");
  return made === word ? misspelt(word, next) : made;
}

describe("searching among real titles", () => {
  let test: TestDatabase;
  let songs: readonly TrackSpec[];
  before(async function () {
    if (!existsSync(FILE)) {
      console.error(`      not run: ${path.basename(FILE)} is not beside this repository`);
      this.skip();
    }
    test = await createTestDatabase();
    const [, ...lines] = (await readFile(FILE, "utf8")).split(/\r?\n/);
    songs = lines
      .map(fieldsOf)
      .filter((fields) => fields.length === 10 && fields[1] !== "" && fields[2] !== "")
      .slice(0, TRACKS)
      .map(([, title = "", artist = "", popularity]) => ({ title, artist, popularity: Number(popularity) }));
    await insertTracks(test.database.pool, songs);
    await rebuildSearchIndex(test.database.pool);
  });
  after(() => test?.drop());

  const firstTwenty = async (q: string): Promise<readonly { title: string; artist: { name: string } }[]> => {
    const service = new SearchService({ reads: primaryReads(test.database.pool), parallel: 1 });
    const { data } = await service.search({ q, entities: ["track"], limit: 20 });
    return data.flatMap((result) => (result.type === "track" ? [result.item] : []));
  };
  const isThere = async (q: string, { title, artist }: TrackSpec): Promise<boolean> => {
    const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
    return (await firstTwenty(q)).some((item) => same(item.title, title) && same(item.artist.name, artist));
  };

  it("finds each by its title and artist", async () => {
    const next = numbers();
    for (let n = 0; n < 25; n += 1) {
      const song = songs[next(songs.length)] as TrackSpec;
      const q = `${song.title} ${song.artist}`.slice(0, 300);
      expect(await isThere(q, song), q).to.equal(true);
    }
  });

  it("finds four in five with a slip in one word", async () => {
    const next = numbers();
    let [asked, found] = [0, 0];
    while (asked < QUERIES) {
      const song = songs[next(songs.length)] as TrackSpec;
      const words = `${song.title} ${song.artist}`.split(/\s+/).slice(0, 4);
      const long = words.filter((word) => word.length >= MIN_LENGTH && /^\p{L}+$/u.test(word));
      const wrong = long[next(Math.max(1, long.length))];
      if (wrong === undefined) continue;
      asked += 1;
      const q = words.map((word) => (word === wrong ? misspelt(word, next) : word)).join(" ");
      if (await isThere(q, song)) found += 1;
    }
    expect(found / asked).to.be.at.least(GOAL);
  });
});
