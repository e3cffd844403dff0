import { expect } from "chai";
import { chmodSync, closeSync, openSync, readSync, writeSync } from "node:fs";
import { appendFile, readFile, rename, rm, truncate, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { ImportError } from "../../../../services/import/verdicts.js";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { rejection } from "../../../support/rejection.js";
import { insertUser } from "../../../support/users.js";
import { createBench, countsOfJob, digestOf, json, plays } from "../importing.js";
import type { ImportBench } from "../importing.js";
import { buildZip } from "../reading/support.js";

/** What storage may do to an upload behind our back. */
const HARM: Readonly<Record<string, (place: string) => Promise<void>>> = {
  missing: (place) => rm(place),
  "cut short": async (place) => truncate(place, (await readFile(place)).length - 100),
  longer: (place) => appendFile(place, " "),
  "one bit different": async (place) => {
    const bytes = await readFile(place);
    // Inside the last title: still valid JSON, and valid UTF-8.
    const at = bytes.lastIndexOf("Track ");
    flip(place, at < 0 ? bytes.length >> 1 : at);
  },
  "different, with its old time": async (place) => {
    flip(place, 200);
    await utimes(place, new Date(1_600_000_000_000), new Date(1_600_000_000_000));
  },
  "replaced by another of its size": async (place) => {
    const bytes = await readFile(place);
    await writeFile(`${place}.new`, Buffer.alloc(bytes.length, " "));
    await rename(`${place}.new`, place);
  },
};

/** Changes one bit, at once: a test does it between two batches. */
function flip(place: string, at: number): void {
  const file = openSync(place, "r+");
  try {
    const byte = Buffer.alloc(1);
    readSync(file, byte, 0, 1, at);
    writeSync(file, Buffer.from([byte.readUInt8(0) ^ 1]), 0, 1, at);
  } finally {
    closeSync(file);
  }
}

describe("an upload that storage loses or changes", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = () => db.database.pool;
  const UPLOADS: Readonly<Record<string, Buffer>> = {
    "a loose file": json(plays(400)),
    "an archive of stored files": buildZip([
      { name: "a.json", data: json(plays(200)), stored: true },
      { name: "b.json", data: json(plays(200, 200)), stored: true },
    ]),
    "an archive of packed files": buildZip([
      { name: "a.json", data: json(plays(200)) },
      { name: "b.json", data: json(plays(200, 200)) },
    ]),
  };

  async function accepted(upload: Buffer, batchRows = 100) {
    const user = await insertUser(pool());
    const id = await bench.job(user, upload, { batchRows });
    const key = await pool().query<{ blob_key: string }>("select blob_key from import_jobs where id = $1", [
      id,
    ]);
    return {
      user,
      id,
      ref: { importId: id, attempt: 1 },
      place: path.join(bench.spoolDir, key.rows[0]!.blob_key),
    };
  }

  async function expectLost(work: Promise<unknown>): Promise<void> {
    const error = await rejection(work);
    expect(error).to.be.instanceOf(ImportError).with.property("code", "storage_lost");
  }

  for (const [what, upload] of Object.entries(UPLOADS)) {
    for (const [harm, inflict] of Object.entries(HARM)) {
      it(`is lost: ${what}, ${harm} before it is looked into and before a part is read, with nothing taken from it`, async () => {
        const early = await accepted(upload);
        await inflict(early.place);
        await expectLost(bench.steps.prepare(early.ref, bench.context()));

        const later = await accepted(upload);
        await bench.steps.prepare(later.ref, bench.context());
        const [, second] = await bench.steps.openParts(later.ref, -1, 10);
        if (second !== undefined) await bench.steps.importPart(later.ref, 0, bench.context());
        const before = await digestOf(pool(), later.user);
        await inflict(later.place);
        await expectLost(bench.steps.importPart(later.ref, second ?? 0, bench.context()));
        expect(await digestOf(pool(), later.user)).to.deep.equal(before);
        expect(before.rows).to.equal(second === undefined ? 0 : 200);
      });
    }
  }

  it("is lost when it changes while it is read: no row that was not uploaded gets in", async () => {
    // Larger than what is read ahead, so that the change is in bytes that are still to come.
    const upload = json(plays(6000));
    const { user, id, ref, place } = await accepted(upload, 1000);
    let harmed = false;
    const watching = await createBench(pool(), {
      blobs: bench.blobs,
      onCommit: () => {
        if (!harmed) flip(place, upload.lastIndexOf("Track "));
        harmed = true;
      },
    });
    await watching.steps.prepare(ref, watching.context());
    await expectLost(watching.steps.importPart(ref, 0, watching.context()));
    await watching.close();
    const { read, inserted } = await countsOfJob(pool(), id);
    expect(read).to.be.within(1000, 5000);
    expect(inserted).to.equal(read);
    const other = await accepted(json(plays(read)), 1000);
    await bench.run(other.id);
    expect(await digestOf(pool(), user)).to.deep.equal(await digestOf(pool(), other.user));
  });

  it("is still the same after somebody touched, copied or restored it", async () => {
    const { id, ref, place } = await accepted(json(plays(6000)), 1000);
    const watching = await createBench(pool(), {
      blobs: bench.blobs,
      onCommit: ({ batchNo }) => {
        if (batchNo % 2 === 0) chmodSync(place, 0o640);
      },
    });
    await watching.steps.prepare(ref, watching.context());
    await writeFile(`${place}.copy`, await readFile(place));
    await rename(`${place}.copy`, place);
    await watching.steps.importPart(ref, 0, watching.context());
    expect(await watching.steps.finish(ref, { outcome: "completed" })).to.equal("completed");
    await watching.close();
    expect(await countsOfJob(pool(), id)).to.include({ read: 6000, inserted: 6000 });
  });

  it("that was damaged before it was uploaded is not lost: the owner hears what is wrong with the file", async () => {
    const zip = buildZip([
      { name: "a.json", data: json(plays(20)), crc: 5 },
      { name: "b.json", data: json(plays(20, 50)) },
    ]);
    const { id } = await accepted(zip);
    expect(await bench.run(id)).to.equal("completed_with_errors");
    const part = await pool().query(
      "select error_code from import_parts where job_id = $1 and status = 'failed'",
      [id],
    );
    expect(part.rows).to.deep.equal([{ error_code: "entry_corrupt" }]);
  });
});
