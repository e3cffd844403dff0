/** Columns that a client could try to set beside the fields that an endpoint takes. */
import { expect } from "chai";
import { endpoints } from "../../api/routes/index.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser, type TestUser } from "../support/factories.js";

/** A refusal lists no more than a hundred problems. */
const AT_ONCE = 60;
const NOT_FOR_CLIENTS = ["$ref", "user", "sessions", "listens"];

describe("a body with more than an endpoint takes", () => {
  let app: TestApp;
  let admin: TestUser;
  /** Every column there is, as a client would write it. */
  let columns: readonly string[];
  before(async () => {
    app = await startTestApp();
    admin = await buildUser(app);
    const { rows } = await app.deps.database.pool.query<{ name: string }>(
      "select distinct column_name as name from information_schema.columns where table_schema = 'public'",
    );
    columns = rows.map(({ name }) =>
      name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    );
    expect(columns).to.include.members(["userId", "role", "id", "createdAt", "importJobId", "passwordHash"]);
  });
  after(() => app.close());

  const address = (path: string): string =>
    path.replace(/\/(tracks|artists|albums|listening-history)\/:id/, "/$1/4711").replace(":id", admin.id);

  for (const { method, path, body, auth } of endpoints) {
    if (body === undefined || "stream" in body) continue;
    it(`is refused by ${method.toUpperCase()} ${path}, which names each of them`, async () => {
      const taken = Object.keys(body.describe()["keys"] as object);
      const extra = [...columns, ...NOT_FOR_CLIENTS].filter((name) => !taken.includes(name));
      const client = auth === "user" ? app.as(admin) : app.anonymous;
      for (let from = 0; from < extra.length; from += AT_ONCE) {
        const names = extra.slice(from, from + AT_ONCE);
        const answer = await client.request(method.toUpperCase(), address(path), undefined, {
          raw: `{${names.map((name) => `${JSON.stringify(name)}:null`).join(",")}}`,
          headers: { "content-type": "application/json" },
        });
        expect(answer.status).to.equal(400);
        const problems = answer.body.errors as { path: string; code: string }[];
        const unknown = problems.filter(({ code }) => code === "unknown_field").map((one) => one.path);
        expect(unknown).to.include.members(names);
      }
    });
  }
});
