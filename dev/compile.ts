/**
 * The service as plain JavaScript, for the processes that `npm start`, tests and benchmarks start: they run what production runs, are
 * up in half the time, and have no compiler in them, which would take 30 MB of each for the rest of its life.
 */
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { build } from "esbuild";

const ROOT = path.resolve(import.meta.dirname, "..");
/** Below it the packages are found. */
const CACHE = path.join(ROOT, "node_modules", ".cache");
const FOLDERS = ["api", "services", "workflows", "activities", "db", "utils"];
const SOURCES = ["./config.ts", ...FOLDERS.map((folder) => `./${folder}/**/*.ts`)];
/** The process that made it, which removes it unless it is killed. */
const COMPILED = /^playlog-(\d+)-/;
const OLD_MS = 24 * 60 * 60 * 1000;

/**
 * Compiles all of it, file by file, into a new folder, which whoever asked removes; returns the folder.
 * @param more other files to compile with it, as patterns like `./bench/support/*.ts`
 */
export async function compileService(more: readonly string[] = []): Promise<string> {
  await mkdir(CACHE, { recursive: true });
  await removeOrphans().catch(() => undefined); // the next one tries again
  const folder = await mkdtemp(path.join(CACHE, `playlog-${process.pid}-`));
  try {
    await writeFile(path.join(folder, "package.json"), JSON.stringify({ type: "module" }));
    await build({
      absWorkingDir: ROOT,
      entryPoints: [...SOURCES, ...more],
      outdir: folder,
      outbase: ROOT,
      platform: "node",
      format: "esm",
      target: "node20",
      sourcemap: "inline",
      logLevel: "warning",
    });
    return folder;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Where the compiled form of `entry` (a path from the repository root) is in what `compileService` made. */
export const compiledIn = (folder: string, entry: string): string =>
  path.join(folder, entry.replace(/\.ts$/, ".js"));

/** Removes what killed processes left behind a day ago or earlier. */
async function removeOrphans(): Promise<void> {
  for (const name of await readdir(CACHE)) {
    const pid = Number(COMPILED.exec(name)?.[1] ?? 0);
    const folder = path.join(CACHE, name);
    if (pid === 0 || isAlive(pid) || Date.now() - (await stat(folder)).mtimeMs < OLD_MS) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
