/** The folder a stack keeps its state in, and the record of its processes that says whether it is in use. */
import { readdirSync, rmSync, statSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { endProcess, isSame, sleep, startedAt } from "./system.mjs";

const RECORD = "keeper.json";
export const THROWAWAY_PREFIX = "playlog-stack-";

export const readRecord = async (folder) => {
  try {
    return JSON.parse(await readFile(path.join(folder, RECORD), "utf8"));
  } catch {
    return undefined;
  }
};

/** Writes who runs here: the keeper, its parent, and every server. Replaced as a whole, so never half a file. */
export async function writeRecord(folder, parent, servers, foreignFolder) {
  const keeper = { pid: process.pid, start: await startedAt(process.pid), signal: "SIGTERM" };
  const part = path.join(folder, `${RECORD}.part-${process.pid}`);
  await writeFile(part, JSON.stringify({ keeper, parent, servers, foreignFolder }, null, 2));
  await rename(part, path.join(folder, RECORD));
}

export const removeRecord = (folder) => rm(path.join(folder, RECORD), { force: true });

/**
 * Makes sure nobody else uses `folder`. A keeper whose parent has died is on its way out and is waited for;
 * servers that outlived a killed keeper are ended. Throws when a living start owns the folder.
 */
export async function claimFolder(folder, parent) {
  await mkdir(folder, { recursive: true });
  const deadline = Date.now() + 20_000;
  for (;;) {
    const record = await readRecord(folder);
    if (record === undefined) break;
    const { keeper, parent: owner, servers } = record;
    if (!(await isSame(keeper))) {
      await Promise.all(servers.map((server) => endProcess(server, 8000)));
      break;
    }
    if (await isSame(owner)) {
      throw new Error(`playlog already runs here (process ${owner.pid}, folder ${folder}).`);
    }
    if (Date.now() > deadline) throw new Error(`the servers of an earlier run still hold ${folder}.`);
    await sleep(100);
  }
  await writeRecord(folder, parent, []);
  // Of two that start in the same moment the later writer wins, and the other gives way.
  await sleep(30);
  const now = await readRecord(folder);
  if (now?.keeper.pid !== process.pid) {
    throw new Error(`playlog already runs here (process ${now?.parent.pid}, folder ${folder}).`);
  }
}

/** Removes throw-away folders whose keeper was killed before it could do so itself. */
export async function sweepThrowaways() {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(THROWAWAY_PREFIX)) continue;
    const folder = path.join(tmpdir(), name);
    try {
      const record = await readRecord(folder);
      const fresh = Date.now() - statSync(folder).mtimeMs < 60_000;
      if (record === undefined ? fresh : await isSame(record.keeper)) continue;
      await Promise.all((record?.servers ?? []).map((server) => endProcess(server, 2000)));
      if (record?.foreignFolder !== undefined) rmSync(record.foreignFolder, { recursive: true, force: true });
      rmSync(folder, { recursive: true, force: true });
    } catch {
      // Somebody else's folder, or being removed by another run right now.
    }
  }
}
