/** Secrets that playlog makes for itself and keeps in its home folder. */
import { randomBytes } from "node:crypto";
import { link, mkdir, open, readFile, rm } from "node:fs/promises";
import path from "node:path";

/**
 * The text in this file of the folder, without white space around it; made by `make` when the file is not there. Several
 * processes may call this at once for one folder: all get the same text. Only its owner can read the file.
 */
export async function keptText(folder: string, name: string, make: () => string): Promise<string> {
  const target = path.join(folder, name);
  const found = await readKeptText(folder, name);
  if (found !== null) return found;
  await mkdir(folder, { recursive: true });
  const draft = path.join(folder, `.${name}.${process.pid}.${randomBytes(6).toString("hex")}`);
  try {
    const file = await open(draft, "wx", 0o600);
    try {
      await file.writeFile(`${make()}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    // Whole or not at all, and never over one that is there: the first link wins, the others read it.
    await link(draft, target).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(draft, { force: true });
  }
  const kept = await readKeptText(folder, name);
  if (kept === null) throw new Error(`${target} vanished while it was being made`);
  return kept;
}

/** Null when there is no such file. */
export async function readKeptText(folder: string, name: string): Promise<string | null> {
  try {
    return (await readFile(path.join(folder, name), "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}
