/** `npm run relink`: links all histories anew, for after the rules of linking have changed. */
import { LINK_RULE_VERSION } from "../../services/history/linking/rules.js";
import { relinkAll, type RelinkedAccount } from "../../services/import/relinkAll.js";
import { openRunningDatabase } from "../running.js";

const USAGE = `usage: npm run relink

Links the plays of every account by the rules as they are now, and says whether anything was linked otherwise before.
What owners have told apart stays apart. Works on DATABASE_URL, or on the playlog that npm start runs here, beside it.`;

const STATEMENT_TIMEOUT_MS = 600_000;

export async function run(args: readonly string[]): Promise<void> {
  if (args.length > 0) throw new Error(USAGE);
  const database = await openRunningDatabase("relink", {
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    lockTimeoutMs: 15_000,
  });
  let [accounts, plays] = [0, 0];
  const each = ({ username, changed }: RelinkedAccount): void => {
    accounts += 1;
    plays += changed;
    if (changed > 0) console.log(`${username}: ${changed} plays were linked otherwise`);
  };
  try {
    await relinkAll(database.pool, each);
  } finally {
    await database.close();
  }
  console.log(
    `Rules: version ${LINK_RULE_VERSION}. Accounts: ${accounts}; plays that were linked otherwise: ${plays}`,
  );
}
