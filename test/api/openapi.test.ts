import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect } from "chai";
import { openApiDocument } from "../../api/openapi/document.js";
import { endpoints } from "../../api/routes/index.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser, type TestUser } from "../support/factories.js";

type Json = Record<string, unknown>;
interface Operation {
  readonly operationId: string;
  readonly security: readonly Json[];
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: Json }[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema: Json }> };
  readonly responses: Record<string, { readonly content?: Json }>;
}
interface Document {
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Json };
}

const COMMITTED = path.join(import.meta.dirname, "../../api/openapi/openapi.json");

/** As JSON carries it. */
const document = JSON.parse(JSON.stringify(openApiDocument({ endpoints }))) as Document;
const operations = Object.entries(document.paths).flatMap(([address, item]) =>
  Object.entries(item).map(([method, operation]) => ({ address, method: method.toUpperCase(), operation })),
);
/** An address of this form at which there is nothing. */
const example = (address: string, { parameters = [] }: Operation): string =>
  address.replaceAll(/\{(\w+)\}/g, (_whole, name) => {
    const parameter = parameters.find((one) => one.in === "path" && one.name === name);
    const isNumber = parameter?.schema["type"] === "integer";
    return isNumber ? String(Number.MAX_SAFE_INTEGER) : "01890000-0000-7000-8000-000000000000";
  });

function* refsIn(value: unknown): Generator<string> {
  if (typeof value !== "object" || value === null) return;
  if ("$ref" in value && typeof value.$ref === "string") yield value.$ref;
  for (const inner of Object.values(value)) yield* refsIn(inner);
}

describe("the OpenAPI document", () => {
  let app: TestApp;
  let user: TestUser;
  before(async () => {
    app = await startTestApp();
    user = await buildUser(app);
  });
  after(() => app.close());

  it("is the committed one (node --import tsx api/openapi/write.ts writes it)", async () => {
    expect(JSON.parse(await readFile(COMMITTED, "utf8"))).to.deep.equal(document);
  });

  it("is served as it is", async () => {
    const answer = await app.anonymous.get("/openapi.json");
    expect(answer.status).to.equal(200);
    expect(answer.body).to.deep.equal(document);
    expect(answer.body.openapi).to.equal("3.1.0");
  });

  it("refers only to what it defines, and calls each operation by a name of its own", () => {
    for (const ref of refsIn(document)) {
      const [, , kind, name = ""] = ref.split("/");
      expect(kind).to.equal("schemas");
      expect(document.components.schemas, ref).to.have.property(name);
    }
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).to.equal(ids.length);
    expect(ids.every((id) => /^[a-z][A-Za-z0-9]+$/.test(id))).to.equal(true);
  });

  it("lists each path parameter, a success, and the problems every endpoint can answer with", () => {
    for (const { address, method, operation } of operations) {
      const names = [...address.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      const listed = (operation.parameters ?? []).filter((one) => one.in === "path").map(({ name }) => name);
      expect(listed, address).to.deep.equal(names);
      const statuses = Object.keys(operation.responses);
      expect(
        statuses.some((status) => /^2/.test(status)),
        address,
      ).to.equal(true);
      expect(statuses, address).to.include.members(["400", "503"]);
      if (method !== "GET") expect(statuses, address).to.include.members(["408", "413", "415"]);
    }
  });

  it("describes an address for every route, and no other", async () => {
    for (const { address, method, operation } of operations) {
      const { status } = await app.anonymous.request(method, example(address, operation));
      expect(status, `${method} ${address}`).to.not.equal(405);
    }
    const other = await app.anonymous.request("OPTIONS", "/api/v1/auth/keys");
    expect(other.status).to.equal(404);
  });

  describe("keeps its word:", () => {
    for (const { address, method, operation } of operations) {
      const name = `${method} ${address}`;

      if (operation.security.length > 0) {
        it(`${name} needs a token`, async () => {
          const answer = await app.anonymous.request(method, example(address, operation));
          expect(answer.status).to.equal(401);
          expect(answer.headers.get("www-authenticate")).to.equal("Bearer");
          expect(answer.body.code).to.equal("unauthorized");
        });
      }

      const schema = operation.requestBody?.content["application/json"]?.schema;
      if (schema?.["additionalProperties"] === false && operation.requestBody?.content["*/*"] === undefined) {
        it(`${name} refuses a field it does not know, and names it`, async () => {
          const client = operation.security.length > 0 ? app.as(user) : app.anonymous;
          const answer = await client.request(method, example(address, operation), { surprise: 1 });
          expect(answer.status).to.equal(400);
          expect(answer.body.errors).to.deep.include({
            path: "surprise",
            code: "unknown_field",
            message: "surprise is not a field of this request",
          });
        });
      }
    }
  });
});
