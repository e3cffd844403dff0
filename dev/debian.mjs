/** Redis out of Debian's or Ubuntu's packages: downloaded and unpacked privately, never installed. */
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { run, which } from "./system.mjs";

const PACKAGES = [
  "redis-server",
  "redis-tools",
  "libjemalloc2",
  "liblzf1",
  "libatomic1",
  "liblua5.1-0",
  "lua-cjson",
  "lua-bitop",
];

/** Leaves an unpacked tree in `folder`. Needs apt-get and dpkg but no rights: lists and cache are our own. */
export async function unpackDebianRedis(folder) {
  if ((await which("apt-get")) === undefined) throw new Error("there is no apt-get");
  await mkdir(path.dirname(folder), { recursive: true });
  const work = await mkdtemp(`${folder}.part-`);
  try {
    const lists = path.join(work, "lists");
    const archives = path.join(work, "cache", "archives");
    const root = path.join(work, "root");
    await mkdir(path.join(lists, "partial"), { recursive: true });
    await mkdir(path.join(archives, "partial"), { recursive: true });
    await mkdir(root);
    const options = ["-qq", "-o", `Dir::State::lists=${lists}`, "-o", `Dir::Cache=${path.dirname(archives)}`];
    // As root apt drops to a user of its own, who may not write here.
    if (process.getuid?.() === 0) options.push("-o", "APT::Sandbox::User=root");
    await must("apt-get", [...options, "update"], work);
    await must("apt-get", [...options, "download", ...PACKAGES], work);
    for (const file of (await readdir(work)).filter((name) => name.endsWith(".deb"))) {
      await must("dpkg", ["-x", path.join(work, file), root], work);
    }
    await rm(folder, { recursive: true, force: true });
    await rename(root, folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function must(program, args, cwd) {
  const { code, stderr } = await run(program, args, { cwd });
  if (code !== 0) throw new Error(`${program} ${args.at(-1)}: ${stderr.trim().split("\n").at(-1)}`);
}
