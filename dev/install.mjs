/** Installs the dependencies when what is in node_modules is not what package-lock.json asks for. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Runs `npm ci` when needed; throws when it fails. `root` is the repository. */
export async function installWhenStale(root) {
  const lock = readFileSync(path.join(root, "package-lock.json"));
  const stamp = path.join(root, "node_modules", ".playlog-install");
  const hash = createHash("sha256")
    .update(lock)
    .update(`${process.version} ${process.arch} ${process.platform}`);
  const wanted = hash.digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  if (!isInstalled(root, JSON.parse(lock.toString()))) {
    console.log("Installing the dependencies (npm ci)");
    await npmCi(root);
  }
  writeFileSync(stamp, wanted);
}

/** Whether npm's own note of what it installed agrees with the lock: then somebody ran npm ci before us. */
function isInstalled(root, lock) {
  const modules = path.join(root, "node_modules");
  // Built for this platform: a folder carried over from another machine has the same note.
  if (!existsSync(path.join(modules, "@esbuild", `${process.platform}-${process.arch}`))) return false;
  let installed;
  try {
    installed = JSON.parse(readFileSync(path.join(modules, ".package-lock.json"), "utf8")).packages;
  } catch {
    return false;
  }
  return Object.entries(lock.packages).every(([name, wanted]) => {
    if (name === "") return true;
    const have = installed[name];
    return have === undefined
      ? wanted.optional === true || wanted.peer === true
      : have.version === wanted.version;
  });
}

function npmCi(root) {
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  const npm = process.env.npm_execpath;
  const [program, ...first] = npm?.endsWith(".js") ? [process.execPath, npm] : ["npm"];
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...first, ...args], { cwd: root, stdio: "inherit" });
    const endings = ["SIGINT", "SIGTERM", "SIGHUP"];
    const forward = (signal) => {
      child.kill(signal);
      child.once("exit", () => process.exit(1));
    };
    for (const name of endings) process.on(name, forward);
    child.once("error", (error) => reject(new Error(`npm cannot be run: ${error.message}`)));
    child.once("exit", (code) => {
      for (const name of endings) process.off(name, forward);
      if (code === 0) resolve();
      else reject(new Error(`npm ci failed with code ${code}; see above.`));
    });
  });
}
