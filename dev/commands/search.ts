/** `npm run search -- rebuild`: the search index anew from the catalogue, while playlog runs. */
import { rebuildSearchIndex } from "../../services/search/rebuild.js";
import { openRunningDatabase } from "../running.js";

const USAGE = `usage: npm run search -- rebuild
  makes the search index anew from the catalogue; searches go on with the old one until it is done

Works on DATABASE_URL, or on the playlog that npm start runs here.`;

/** An index over millions of names is built by one statement. */
const STATEMENT_TIMEOUT_MS = 60 * 60_000;
const SHOW_EVERY = 100_000;

export async function run(args: readonly string[]): Promise<void> {
  if (args.length !== 1 || args[0] !== "rebuild") throw new Error(USAGE);
  const database = await openRunningDatabase("search", {
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    lockTimeoutMs: 5000,
  });
  const begun = performance.now();
  let shown = 0;
  try {
    const { documents, words } = await rebuildSearchIndex(database.pool, (done) => {
      if (done - shown < SHOW_EVERY) return;
      shown = done;
      console.log(`${done.toLocaleString("en")} names read`);
    });
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    console.log(
      `${documents.toLocaleString("en")} names and ${words.toLocaleString("en")} words in ${seconds} s`,
    );
  } finally {
    await database.close();
  }
}
