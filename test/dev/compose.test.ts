import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect } from "chai";
import { parse } from "yaml";
import { WORKER_NODE_OPTIONS } from "../../dev/app.js";
import { loadConfig, settingNames } from "../../config.js";

interface Service {
  readonly image?: string;
  readonly build?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly restart?: string;
  readonly stop_grace_period?: string;
}

const ROOT = path.resolve(import.meta.dirname, "..", "..");
const read = (file: string): string => readFileSync(path.join(ROOT, file), "utf8");

describe("docker-compose.yml", () => {
  const compose = parse(read("docker-compose.yml"), { merge: true }) as {
    readonly services: Readonly<Record<string, Service>>;
    readonly volumes: Readonly<Record<string, unknown>>;
    readonly configs: Readonly<Record<string, { readonly content: string }>>;
  };
  const service = (name: string): Service => {
    const found = compose.services[name];
    if (found === undefined) throw new Error(`no service ${name}`);
    return found;
  };
  const names = Object.keys(compose.services);

  /** What a shell without any of our variables would put in place of `${NAME:-default}`. */
  const interpolate = (text: string | number): string =>
    String(text).replaceAll(/\$\{\w+:-([^}]*)\}/g, (_, fallback: string) => fallback);

  it("has the servers, their one-time preparations, the api and the worker", () => {
    expect(names).to.have.members([
      "api",
      "worker",
      "migrate",
      "postgres",
      "redis",
      "temporal",
      "temporal-schema",
      "temporal-namespace",
      "temporal-ui",
    ]);
  });

  it("runs what the build makes, from one image", () => {
    const commands = ["migrate", "api", "worker"].map((name) => [service(name).image, service(name).command]);
    expect(commands).to.deep.equal([
      ["playlog", ["node", "dist/db/migrate.js"]],
      ["playlog", ["node", "dist/api/server.js"]],
      ["playlog", ["node", ...WORKER_NODE_OPTIONS, "dist/activities/worker.js"]],
    ]);
    for (const file of ["db/migrate.ts", "api/server.ts", "activities/worker.ts"]) {
      expect(existsSync(path.join(ROOT, file)), file).to.equal(true);
    }
  });

  it("pins every image it does not build to a version", () => {
    for (const name of names.filter((one) => service(one).build === undefined)) {
      expect(service(name).image, name).to.match(/^[\w/-]+:\d[\w.-]*$/);
    }
  });

  it("gives the api and the worker known settings that make a valid configuration", () => {
    for (const name of ["api", "worker"]) {
      const environment = service(name).environment ?? {};
      expect(settingNames).to.include.members(Object.keys(environment));
      const values = Object.entries(environment).map(([key, value]) => [key, interpolate(value)]);
      const config = loadConfig(Object.fromEntries(values) as Record<string, string>);
      expect(new URL(config.database.url).hostname).to.equal("postgres");
      expect(new URL(config.redis.url).hostname).to.equal("redis");
      expect(config.temporal.address).to.equal("temporal:7233");
    }
  });

  it("lets the api and the worker share the folder of the uploads", () => {
    expect(service("api").volumes).to.deep.equal(["data:/data"]);
    expect(service("worker").volumes).to.deep.equal(["data:/data"]);
    expect(service("api").environment?.["PLAYLOG_HOME"]).to.equal("/data");
    expect(service("worker").environment?.["PLAYLOG_HOME"]).to.equal("/data");
    expect(compose.volumes).to.have.all.keys("data", "postgres");
  });

  it("starts each service after what it needs, and waits for a health check or an end that is there", () => {
    const needs = (name: string): Record<string, string> =>
      Object.fromEntries(
        Object.entries(service(name).depends_on ?? {}).map(([on, { condition }]) => [on, condition]),
      );
    const app = {
      migrate: "service_completed_successfully",
      redis: "service_healthy",
      "temporal-namespace": "service_completed_successfully",
    };
    expect(needs("api")).to.deep.equal(app);
    expect(needs("worker")).to.deep.equal(app);
    expect(needs("migrate")).to.deep.equal({ postgres: "service_healthy" });
    expect(needs("temporal-schema")).to.deep.equal({ postgres: "service_healthy" });
    expect(needs("temporal")).to.deep.equal({ "temporal-schema": "service_completed_successfully" });
    expect(needs("temporal-namespace")).to.deep.equal({ temporal: "service_healthy" });
    for (const name of names) {
      for (const [on, condition] of Object.entries(needs(name))) {
        if (condition === "service_healthy") expect(service(on).healthcheck, on).to.not.equal(undefined);
        else expect(service(on).restart, on).to.match(/^on-failure/);
      }
    }
  });

  it("publishes ports on this machine only, and none of a server without a sign-in of its own", () => {
    const published = names.flatMap((name) => (service(name).ports ?? []).map((port) => `${name} ${port}`));
    expect(published).to.deep.equal(["api 127.0.0.1:3000:3000", "temporal-ui 127.0.0.1:8233:8080"]);
  });

  it("asks about health with commands, which YAML could take for something else", () => {
    for (const name of names) {
      for (const word of service(name).healthcheck?.test ?? []) expect(word, name).to.be.a("string");
    }
  });

  it("serves metrics inside its network, and asks the worker's port whether it works", () => {
    for (const [name, setting] of [
      ["api", "OPS_PORT"],
      ["worker", "WORKER_OPS_PORT"],
    ] as const) {
      const { environment = {}, ports = [] } = service(name);
      expect(environment["OPS_HOST"], name).to.equal("0.0.0.0");
      const port = String(environment[setting]);
      expect(port, name).to.match(/^\d{4}$/);
      expect(ports.filter((published) => published.includes(port))).to.deep.equal([]);
    }
    const { environment = {}, healthcheck } = service("worker");
    expect(healthcheck?.test.join(" ")).to.include(
      `http://127.0.0.1:${environment["WORKER_OPS_PORT"]}/health'`,
    );
  });

  it("gives a stopped api and worker longer than they take for themselves", () => {
    for (const name of ["api", "worker"]) {
      const { environment = {}, stop_grace_period: grace = "0s" } = service(name);
      const values = Object.entries(environment).map(([key, value]) => [key, interpolate(value)]);
      const config = loadConfig(Object.fromEntries(values) as Record<string, string>);
      expect(Number.parseInt(grace, 10) * 1000).to.be.greaterThan(config.shutdownGraceMs);
    }
  });

  it("has a second file with which neither Temporal nor anything for it is started, and all else is as it was", () => {
    // The tag replaces what it would be merged with; that is what this file is held to here.
    const override = { tag: "!override", collection: "map" as const };
    const { services } = parse(read("docker-compose.bullmq.yml"), {
      merge: true,
      customTags: [override],
    }) as {
      readonly services: Readonly<Record<string, Service & { readonly profiles?: readonly string[] }>>;
    };
    for (const name of names.filter((one) => one.startsWith("temporal")))
      expect(services[name]?.profiles, name).to.deep.equal(["temporal"]);
    for (const name of ["api", "worker", "migrate"]) {
      expect(services[name]?.build, name).to.deep.equal({ context: ".", args: { IMPORT_QUEUE: "bullmq" } });
      expect(services[name]?.image).to.equal("playlog-bullmq");
    }
    for (const name of ["api", "worker"]) {
      const { environment = {}, depends_on: needs = {} } = services[name] ?? {};
      const values = Object.entries({ ...service(name).environment, ...environment });
      const config = loadConfig(Object.fromEntries(values.map(([key, value]) => [key, interpolate(value)])));
      expect(config.queue.kind).to.equal("bullmq");
      const others = Object.entries(service(name).depends_on ?? {}).filter(([on]) => !/^temporal/.test(on));
      expect(needs).to.deep.equal(Object.fromEntries(others));
    }
    expect(read("Dockerfile")).to.include("ARG IMPORT_QUEUE=temporal\n");
  });

  it("makes Temporal a role and databases of its own, with the password it signs in with", () => {
    const sql = interpolate(compose.configs["temporal-databases"]?.content ?? "");
    const { POSTGRES_USER: role, POSTGRES_PWD: password } = service("temporal").environment ?? {};
    expect(sql).to.include(`create role ${String(role)} login password '${interpolate(password ?? "")}'`);
    expect(sql).to.match(
      /create database temporal owner temporal;\ncreate database temporal_visibility owner/,
    );
    expect(interpolate(service("temporal-schema").environment?.["SQL_PASSWORD"] ?? "")).to.equal(
      interpolate(password ?? ""),
    );
  });
});

describe("Dockerfile", () => {
  const lines = read("Dockerfile").split("\n");

  it("runs as an ordinary user on a Node that package.json allows", () => {
    const images = lines.filter((line) => line.startsWith("FROM ")).map((line) => line.split(" ")[1]);
    expect(new Set(images)).to.deep.equal(new Set(["node:24-bookworm-slim"]));
    expect(lines).to.include("USER node");
  });

  it("tells the worker where the build put the workflows", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: { build: string } };
    expect(scripts.build).to.match(/dist\/workflow-bundle\.js$/);
    expect(lines.join("\n")).to.include("PLAYLOG_WORKFLOW_BUNDLE=/app/dist/workflow-bundle.js");
  });

  it("copies into the build all that TypeScript compiles and nothing secret", () => {
    const { include } = JSON.parse(read("tsconfig.build.json")) as { include: string[] };
    const ignored = read(".dockerignore").split("\n");
    expect(ignored[0]).to.equal("*");
    expect(ignored).to.include.members(include.map((entry) => `!${entry}`));
    expect(ignored.filter((line) => /env|home|playlog/.test(line))).to.deep.equal([]);
  });
});
