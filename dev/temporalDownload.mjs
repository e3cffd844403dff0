/** Temporal's own download of its command line program, which carries the development server. */
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { run } from "./system.mjs";

export const TEMPORAL_VERSION = "1.9.1";

/**
 * Puts the program `temporal` into `folder`. The first answer has 5 s, because a network that swallows
 * packets must not cost a minute before another source is tried.
 */
export async function downloadTemporal(folder) {
  const base = process.env.TEMPORAL_DOWNLOAD_BASE || "https://temporal.download";
  const machine = process.arch === "arm64" ? "arm64" : "amd64";
  const query = new URLSearchParams({ arch: machine, platform: process.platform, format: "tar.gz" });
  const answer = await get(`${base}/cli/v${TEMPORAL_VERSION}?${query}`, 5_000);
  const { archiveUrl, fileToExtract } = await answer.json();
  if (typeof archiveUrl !== "string" || typeof fileToExtract !== "string") {
    throw new Error(`${base} gave an answer of another shape`);
  }
  const archive = Buffer.from(await (await get(archiveUrl, 240_000)).arrayBuffer());

  await mkdir(path.dirname(folder), { recursive: true });
  const work = await mkdtemp(`${folder}.part-`);
  try {
    await writeFile(path.join(work, "archive.tar.gz"), archive);
    const { code, stderr } = await run("tar", ["-xzf", "archive.tar.gz", fileToExtract], { cwd: work });
    if (code !== 0) throw new Error(`tar: ${stderr.trim()}`);
    const program = path.join(work, fileToExtract);
    await chmod(program, 0o755);
    if ((await run(program, ["--version"])).code !== 0)
      throw new Error("the downloaded program does not run");
    await mkdir(folder, { recursive: true });
    await rename(program, path.join(folder, "temporal"));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function get(url, timeoutMs) {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) }).catch((error) => {
    throw new Error(`${new URL(url).host}: ${error.cause?.message ?? error.message}`);
  });
  if (!response.ok) throw new Error(`${new URL(url).host} answered ${response.status}`);
  return response;
}
