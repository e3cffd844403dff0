/**
 * The service as plain JavaScript, for the processes that tests and benchmarks start: they are up in half the time and with half
 * the work that compiling on the way takes, which counts when a run starts a hundred of them, and they run what production runs.
 */
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { build } from "esbuild";

const ROOT = path.resolve(import.meta.dirname, "../..");
const FOLDERS = ["api", "services", "workflows", "activities", "db", "utils"];
const SOURCES = ["./config.ts", ...FOLDERS.map((folder) => `./${folder}/**/*.ts`)];

/**
 * Compiles all of it, file by file, into a new folder from which the packages are found; returns the folder.
 * @param more other files to compile with it, as patterns like `./bench/support/*.ts`
 */
export async function compileService(more: readonly string[] = []): Promise<string> {
  const folder = path.join(ROOT, "node_modules", ".cache", `playlog-test-${process.pid}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
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
}

/** Where the compiled form of `entry` (a path from the repository root) is; undefined when this run compiled nothing. */
export function compiledEntry(entry: string): string | undefined {
  const folder = process.env["PLAYLOG_TEST_COMPILED"];
  return folder === undefined ? undefined : path.join(folder, entry.replace(/\.ts$/, ".js"));
}
