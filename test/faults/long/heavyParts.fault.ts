/** Files that ask much of a worker: in its own process, with the heap it is given in earnest. */
import { randomBytes } from "node:crypto";
import { expect } from "chai";
import { WORKER_NODE_OPTIONS } from "../../../dev/app.js";
import { createRealWorker } from "../../activities/realWorker.js";
import { digestOf, json, play } from "../../services/import/importing.js";
import { createTestDatabase } from "../../support/database.js";
import { insertUser } from "../../support/users.js";
import { zip } from "../../support/zip.js";

/** Of the longest text a field may have: 4 KiB, at two bytes a character. */
const TEXT_CHARS = 2040;
const NAMES = Array.from(randomBytes(2 ** 18), (byte) => String.fromCharCode(0x430 + (byte & 31))).join("");

/** No two alike, and no two that a ZIP file could store as one. */
function longText(n: number): string {
  const at = (n * 7919) % (NAMES.length - TEXT_CHARS);
  return `${n} ${NAMES.slice(at, at + TEXT_CHARS)}`;
}

const wide = (n: number) =>
  play(n, { title: longText(3 * n), artist: longText(3 * n + 1), album: longText(3 * n + 2), uri: "" });

describe("a worker with files that are hard to bear", function () {
  this.timeout(360_000);

  it("imports two files at once whose every record carries three texts of the longest kind", async () => {
    const db = await createTestDatabase();
    const real = await createRealWorker(db, { batchRows: 10_000, heartbeatTimeoutMs: 10_000 });
    try {
      const user = await insertUser(db.database.pool);
      // Held in one batch each, as they were before batches were bounded, these end the process.
      const file = (from: number) => json(Array.from({ length: 6000 }, (_, n) => wide(from + n)));
      const upload = zip([
        { name: "a.json", data: file(0), store: true },
        { name: "b.json", data: file(6000), store: true },
      ]);
      const worker = await real.start({ NODE_OPTIONS: WORKER_NODE_OPTIONS.join(" ") });
      const { id } = await real.accept(user, upload, "export.zip");
      const job = await real.settled(user, id, undefined, 300_000);
      expect(job).to.include({ status: "completed" });
      expect(job.counts).to.include({ read: 12_000, inserted: 12_000 });
      expect((await digestOf(db.database.pool, user)).rows).to.equal(12_000);
      expect(worker.child.exitCode).to.equal(null);
    } finally {
      await real.close();
      await db.drop();
    }
  });
});
