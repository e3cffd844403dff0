/**
 * The workflows as one file that a worker loads. Built ahead, because a worker that bundles for itself needs
 * 70 MB more for the rest of its life and a second and a half longer to start.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

const ROOT = path.resolve(import.meta.dirname, "..");
const WORKFLOWS = path.join(ROOT, "workflows", "index.ts");
const BUNDLE = /^workflows-[0-9a-f]{16}\.js$/;
/** Bundles the cache keeps: for going back and forth between a few states of the code. */
const KEPT_BUNDLES = 3;

/** Bundles workflows/index.ts into `file`. */
export async function buildWorkflowBundle(file: string): Promise<void> {
  // Loaded only when there is something to bundle: webpack and swc take 100 MB.
  const { DefaultLogger, bundleWorkflowCode } = await import("@temporalio/worker");
  const { code } = await bundleWorkflowCode({ workflowsPath: WORKFLOWS, logger: new DefaultLogger("WARN") });
  await mkdir(path.dirname(file), { recursive: true });
  const part = `${file}.part-${process.pid}`;
  await writeFile(part, code);
  await rename(part, file);
}

/**
 * Path of a bundle of the workflows as they are now, built only when the cache has none. Undefined when
 * there are no workflows.
 */
export async function cachedWorkflowBundle(cache: string): Promise<string | undefined> {
  if (!existsSync(WORKFLOWS)) return undefined;
  const file = path.join(cache, `workflows-${await fingerprint()}.js`);
  const now = new Date();
  if (existsSync(file)) await utimes(file, now, now).catch(() => undefined);
  else await buildWorkflowBundle(file);
  await dropOldBundles(cache).catch(() => undefined); // the next start tries again; this one has its bundle
  return file;
}

/** Removes those that nobody asked for in the longest time. */
async function dropOldBundles(cache: string): Promise<void> {
  const used: { readonly file: string; readonly at: number }[] = [];
  for (const name of (await readdir(cache)).filter((entry) => BUNDLE.test(entry))) {
    const file = path.join(cache, name);
    used.push({ file, at: (await stat(file)).mtimeMs });
  }
  used.sort((a, b) => b.at - a.at);
  for (const { file } of used.slice(KEPT_BUNDLES)) await rm(file, { force: true });
}

/** Changes with any file under workflows/ and with the SDK. */
async function fingerprint(): Promise<string> {
  const hash = createHash("sha256");
  const sdk = createRequire(import.meta.url).resolve("@temporalio/workflow/package.json");
  hash.update(await readFile(sdk));
  const folder = path.dirname(WORKFLOWS);
  for (const name of (await readdir(folder, { recursive: true })).sort()) {
    if (name.endsWith(".ts")) hash.update(`\0${name}\0`).update(await readFile(path.join(folder, name)));
  }
  return hash.digest("hex").slice(0, 16);
}
