import { readdir, stat, statfs } from "node:fs/promises";
import path from "node:path";

export interface SpoolUsage {
  readonly files: number;
  readonly bytes: number;
  /** Of the file system, as far as this user may fill it. */
  readonly freeBytes: number;
  readonly sizeBytes: number;
}

/** What the folder of the uploads holds, unfinished ones and unpacked archives included. Null while there is no such folder. */
export async function spoolUsage(folder: string): Promise<SpoolUsage | null> {
  try {
    const { bsize, blocks, bavail } = await statfs(folder);
    let [files, bytes] = [0, 0];
    for (const name of await readdir(folder, { recursive: true })) {
      const found = await stat(path.join(folder, name)).catch(() => undefined); // deleted meanwhile
      if (found?.isFile() !== true) continue;
      files += 1;
      bytes += found.size;
    }
    return { files, bytes, freeBytes: bavail * bsize, sizeBytes: blocks * bsize };
  } catch {
    return null;
  }
}
