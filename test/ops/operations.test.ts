import { readFileSync } from "node:fs";
import path from "node:path";
import { expect } from "chai";
import { parse } from "yaml";
import { IMPORT_STATUSES } from "../../db/models/enums.js";
import { IMPORT_ERRORS } from "../../services/import/verdicts.js";
import { createRealWorker, type RealWorker } from "../activities/realWorker.js";
import { json, plays } from "../services/import/importing.js";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { freePort, type RunningEntry, startEntry } from "../support/processes.js";
import { scrape } from "../support/scrape.js";
import { testStack } from "../support/stack.js";
import { insertUser } from "../support/users.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");
const read = (file: string): string => readFileSync(path.join(ROOT, file), "utf8");

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string };
}

describe("what operators are told", function () {
  this.timeout(60_000);
  const guide = read("docs/OPERATIONS.md");
  const { groups } = parse(read("docs/ops/alerts.yml")) as { groups: readonly { rules: readonly Rule[] }[] };
  const rules = groups.flatMap((group) => group.rules);
  let db: TestDatabase;
  let real: RealWorker;
  let api: RunningEntry | undefined;
  /** Names of everything an api and a worker show that have imported something. */
  let names: ReadonlySet<string>;

  before(async () => {
    db = await createTestDatabase();
    real = await createRealWorker(db);
    const [port, apiPort, workerPort] = [await freePort(), await freePort(), await freePort()];
    await real.start({ WORKER_OPS_PORT: String(workerPort) });
    api = await startEntry("api/server.ts", {
      PLAYLOG_HOME: path.dirname(real.spoolDir),
      DATABASE_URL: db.url,
      DATABASE_REPLICA_URL: db.url, // no standby, so nobody reads from it; but it has metrics
      REDIS_URL: testStack().redisUrl,
      TEMPORAL_ADDRESS: testStack().temporalAddress,
      PORT: String(port),
      OPS_PORT: String(apiPort),
    });
    const user = await insertUser(db.database.pool);
    await real.settled(user, (await real.accept(user, json(plays(5)))).id);
    const scrapes = await Promise.all([scrape(apiPort), scrape(workerPort)]);
    names = new Set(scrapes.flatMap((one) => [...one.names]));
  });
  after(async () => {
    await api?.stop();
    await real.close();
    await db.drop();
  });

  /** First cells of the table rows below a heading, without their backquotes. */
  const rowsBelow = (heading: string): string[] => {
    const section = guide.split(`\n${heading}\n`)[1]?.split(/\n#+ /)[0] ?? "";
    return [...section.matchAll(/^\| `(\w+)`/gm)].map((match) => match[1] ?? "");
  };

  it("are alerts on metrics that a scrape has", () => {
    const unknown = rules.flatMap(({ alert, expr }) =>
      (expr.match(/\b(playlog|temporal|process|nodejs)_\w+/g) ?? [])
        .filter((name) => !names.has(name))
        .map((name) => `${alert}: ${name}`),
    );
    expect(unknown).to.deep.equal([]);
    expect(rules.length).to.be.greaterThan(15);
    for (const { alert, labels, annotations } of rules) {
      expect(labels.severity, alert).to.be.oneOf(["page", "ticket"]);
      expect(annotations.summary, alert).to.not.equal("");
    }
  });

  it("is what each alert means, and of no other", () => {
    expect(rowsBelow("## Alerts").sort()).to.deep.equal(rules.map(({ alert }) => alert).sort());
  });

  it("is what each status, each waiting reason and each error code means", () => {
    expect(rowsBelow("## Statuses of an import")).to.deep.equal([...IMPORT_STATUSES]);
    expect(rowsBelow("### Error codes")).to.deep.equal(Object.keys(IMPORT_ERRORS));
    expect(rowsBelow("### Waiting reasons").sort()).to.deep.equal(
      ["database", "paused_by_user", "provider_down", "rate_limited", "storage_full"], // those of docs/API.md
    );
  });

  it("names every metric of playlog that a scrape has, and no other", () => {
    const shown = [...names]
      .filter((name) => name.startsWith("playlog_"))
      .map((name) => name.replace(/_(bucket|sum|count)$/, ""));
    const told = guide.match(/\bplaylog_\w+/g) ?? [];
    expect([...new Set(told)].sort()).to.deep.equal([...new Set(shown)].sort());
  });

  it("links to headings that are there", () => {
    const anchors = [...guide.matchAll(/^#+ (.+)$/gm)].map((match) =>
      (match[1] ?? "")
        .toLowerCase()
        .replaceAll(/[^\w -]/g, "")
        .replaceAll(" ", "-"),
    );
    const links = [...guide.matchAll(/\]\(#([\w-]+)\)/g)].map((match) => match[1]);
    expect(links.filter((link) => !anchors.includes(link ?? ""))).to.deep.equal([]);
  });
});
