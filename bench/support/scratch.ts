/** A folder that goes with the process, also when that is told to end. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** Makes an empty folder; `remove` may be called early, and happens at the end of the process at the latest. */
export function scratchFolder(): { readonly path: string; readonly remove: () => void } {
  const folder = mkdtempSync(path.join(tmpdir(), "playlog-bench-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove);
  return {
    path: folder,
    remove: () => {
      process.off("exit", remove);
      remove();
    },
  };
}
