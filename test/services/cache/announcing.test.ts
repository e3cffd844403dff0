import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { expect } from "chai";

const ROOT = path.resolve(import.meta.dirname, "../../..");

/** What cached answers show, and a statement that changes it. New catalogue rows show in none that exists. */
const WRITES =
  /\b(insert\s+into|update|delete\s+from|merge\s+into)\s+listening_history\b|\b(update|delete\s+from|merge\s+into)\s+(artists|albums|tracks)\b/i;

/** Files that write, and the one that ends the transaction and announces. */
const WRITERS: Readonly<Record<string, string>> = {
  "services/catalog/editing.ts": "services/catalog/editing.ts",
  "services/catalog/mergingRows.ts": "services/catalog/merging.ts",
  "services/catalog/movingPlays.ts": "services/catalog/movingPlays.ts",
  "services/history/editing.ts": "services/history/editing.ts",
  "services/history/linking/relink.ts": "services/history/linking/relink.ts",
  "services/history/recording.ts": "services/history/recording.ts",
  "services/history/removing.ts": "services/history/removing.ts",
  "services/import/undo.ts": "services/import/undo.ts",
  "services/users/AccountEraser.ts": "services/users/AccountEraser.ts",
  "services/import/writing/plays.ts": "services/import/writing/BatchCommitter.ts",
};

describe("whoever changes what cached answers show", () => {
  it("announces it in the same transaction", async () => {
    const found: string[] = [];
    for (const folder of ["api", "services", "activities", "db/queries", "db/models"]) {
      for (const name of await readdir(path.join(ROOT, folder), { recursive: true })) {
        const file = path.posix.join(folder, name);
        if (!file.endsWith(".ts")) continue;
        if (WRITES.test(await readFile(path.join(ROOT, file), "utf8"))) found.push(file);
      }
    }
    expect(found, "a new writer has to announce, and to be listed here").to.have.members(
      Object.keys(WRITERS),
    );
    for (const announcer of Object.values(WRITERS))
      expect(await readFile(path.join(ROOT, announcer), "utf8")).to.include("announceChange(");
  });
});
