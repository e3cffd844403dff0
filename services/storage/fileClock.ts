/** The clock that dates files, which need not go with that of this process. */
import { randomBytes } from "node:crypto";
import { open, rm } from "node:fs/promises";
import path from "node:path";

/** How its files end; one that outlives its process is swept. */
export const CLOCK = ".clock";

/** Milliseconds, as told by a file that is in `folder` for a moment; by our own clock where there is no room for one. */
export async function fileClock(folder: string): Promise<number> {
  const marker = path.join(folder, `${randomBytes(16).toString("hex")}${CLOCK}`);
  try {
    const file = await open(marker, "wx", 0o600);
    try {
      await file.write("x");
      return (await file.stat()).mtimeMs;
    } finally {
      await file.close();
    }
  } catch {
    return Date.now();
  } finally {
    await rm(marker, { force: true }).catch(() => undefined);
  }
}
