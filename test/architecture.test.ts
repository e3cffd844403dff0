/** What lint cannot say about the tree: that no arrow turns back, and that a few things happen in one place only. */
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { expect } from "chai";

const ROOT = path.join(import.meta.dirname, "..");
const FOLDERS = ["api", "services", "workflows", "activities", "db", "utils"] as const;
type Folder = (typeof FOLDERS)[number] | "config.ts";

interface Source {
  /** From the root, with slashes. */
  readonly file: string;
  readonly text: string;
  /** Paths of ours from the root, and names of packages; `import type` left out. */
  readonly imports: readonly string[];
}

const IMPORT = /^\s*(?:import|export)\s+(?!type\b)(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm;
const DYNAMIC = /\bimport\(\s*"([^"]+)"\s*\)/g;

function importsOf(file: string, text: string): string[] {
  const found = [...text.matchAll(IMPORT), ...text.matchAll(DYNAMIC)].map((match) => match[1] ?? "");
  return found.map((name) =>
    name.startsWith(".") ? path.posix.join(path.posix.dirname(file), name.replace(/\.js$/, ".ts")) : name,
  );
}

async function sourcesIn(folder: string): Promise<Source[]> {
  const names = await readdir(path.join(ROOT, folder), { recursive: true });
  const files = names.filter((name) => name.endsWith(".ts")).map((name) => path.posix.join(folder, name));
  return Promise.all(
    files.map(async (file) => {
      const text = await readFile(path.join(ROOT, file), "utf8");
      return { file, text, imports: importsOf(file, text) };
    }),
  );
}

const folderOf = (file: string): string => file.split("/")[0] ?? "";

/** Who may import whom, at run time. */
const ARROWS: Readonly<Record<Folder, readonly string[]>> = {
  api: ["api", "services", "db", "utils", "config.ts"],
  services: ["services", "db", "utils", "workflows"],
  workflows: ["workflows"],
  activities: ["activities", "services", "db", "utils", "workflows", "config.ts"],
  db: ["db", "utils"],
  utils: ["utils"],
  "config.ts": ["utils"],
};

describe("the tree", () => {
  let sources: readonly Source[];
  before(async () => {
    const config = await readFile(path.join(ROOT, "config.ts"), "utf8");
    sources = [
      ...(await Promise.all(FOLDERS.map(sourcesIn))).flat(),
      { file: "config.ts", text: config, imports: importsOf("config.ts", config) },
    ];
  });

  it("has arrows one way only", () => {
    const wrong = sources.flatMap(({ file, imports }) => {
      const allowed = ARROWS[folderOf(file) as Folder];
      const ours = imports.filter((name) => name.endsWith(".ts"));
      return ours.filter((name) => !allowed.includes(folderOf(name))).map((name) => `${file} -> ${name}`);
    });
    expect(wrong).to.deep.equal([]);
    expect(sources.length).to.be.above(50);
  });

  it("lets only entry points read settings and the environment", () => {
    const entries = ["api/server.ts", "activities/worker.ts", "db/migrate.ts"];
    const readers = sources.filter(
      ({ file, text, imports }) =>
        file !== "config.ts" && (/\bprocess\.env\b/.test(text) || imports.includes("config.ts")),
    );
    expect(readers.map(({ file }) => file).filter((file) => !entries.includes(file))).to.deep.equal([]);
  });

  it("knows Koa in api/ only, Temporal in workflows/, activities/ and the queue only, and BullMQ in its adapter", () => {
    const koa = /^(koa|@koa)\b/;
    const wrong = sources.flatMap(({ file, imports }) =>
      imports
        .filter(
          (name) =>
            (koa.test(name) && !file.startsWith("api/")) ||
            (name.startsWith("@temporalio/") &&
              !/^(workflows|activities|services\/import\/queues)\//.test(file)) ||
            (name === "bullmq" && file !== "services/import/queues/bull/library.ts"),
        )
        .map((name) => `${file} -> ${name}`),
    );
    expect(wrong).to.deep.equal([]);
  });

  it("has no circle of imports at run time, except between models that name each other", () => {
    const graph = new Map(
      sources.map(({ file, imports }) => [file, imports.filter((name) => name.endsWith(".ts"))]),
    );
    const done = new Set<string>();
    const circles: string[] = [];
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) circles.push([...trail.slice(trail.indexOf(file)), file].join(" -> "));
      if (done.has(file) || trail.includes(file)) return;
      for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
      done.add(file);
    };
    for (const file of graph.keys()) visit(file, []);
    expect(
      circles.filter((circle) => !circle.split(" -> ").every((file) => file.startsWith("db/models/"))),
    ).to.deep.equal([]);
  });

  it("keeps resources of the api apart: one may use another's views and presenter, never its routes", () => {
    const resource = (file: string): string | undefined => /^api\/routes\/([^/]+)\//.exec(file)?.[1];
    const wrong = sources.flatMap(({ file, imports }) =>
      imports
        .filter((name) => {
          const [own, other] = [resource(file), resource(name)];
          const shared = /\/(schema|view|presenter)\.ts$/.test(name);
          return own !== undefined && other !== undefined && own !== other && !shared;
        })
        .map((name) => `${file} -> ${name}`),
    );
    expect(wrong).to.deep.equal([]);
  });

  it("renders errors in one place", () => {
    const renderers = sources.filter(({ text }) => text.includes("urn:playlog:problem"));
    // The document only describes what the handler writes.
    expect(renderers.map(({ file }) => file)).to.have.members([
      "api/middleware/errorHandler.ts",
      "api/openapi/document.ts",
    ]);
  });

  it("has no file over the size at which it should be split", () => {
    const long = sources.filter(({ text }) => text.split("\n").length > 330).map(({ file }) => file);
    expect(long).to.deep.equal([]);
  });
});
