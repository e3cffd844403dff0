/**
 * Holds every answer that a test gets against the OpenAPI document: its status, its content type, its body. So each
 * test of the api is one of the document, too.
 */
import type { ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { openApiDocument } from "../../api/openapi/document.js";
import { endpoints } from "../../api/routes/index.js";

interface Media {
  readonly schema?: object;
}
interface Operation {
  readonly operationId: string;
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, Media>> }>>;
}
export interface Contract {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: object;
}

/** As JSON carries it. */
export const contract = JSON.parse(JSON.stringify(openApiDocument({ endpoints }))) as Contract;

/** What was asked and what came back. */
export interface Exchange {
  readonly method: string;
  /** With or without a query string. */
  readonly path: string;
  readonly status: number;
  readonly contentType: string | null;
  /** Parsed when it is JSON. */
  readonly body: unknown;
}

const BASE = "playlog:contract";
const ajv = new Ajv2020({ strict: false, allErrors: true });
addFormats.default(ajv);
ajv.addFormat("hex", /^[0-9a-f]*$/);
ajv.addSchema(contract, BASE);

/** For a schema that stands in the document, whose references are meant to be the document's. */
export const compileSchema = (schema: object): ValidateFunction =>
  ajv.compile(
    JSON.parse(JSON.stringify(schema).replaceAll('"#/components/', `"${BASE}#/components/`)) as object,
  );

interface Route {
  readonly template: string;
  readonly operations: Readonly<Record<string, Operation>>;
}

const routes = Object.entries(contract.paths).map(([template, operations]) => ({
  template,
  operations,
  pattern: new RegExp(`^${template.replaceAll(".", "\\.").replaceAll(/\{\w+\}/g, "[^/]+")}$`),
}));

function routeOf(path: string): Route | undefined {
  const address = path.split("?", 1)[0] ?? "";
  const fitting = routes.filter(({ pattern }) => pattern.test(address));
  // `/users/me` is an address of its own beside `/users/{id}`.
  return fitting.find(({ template }) => template === address) ?? fitting[0];
}

/** The operation that takes this request; undefined when none does. */
export const operationOf = (method: string, path: string): Operation | undefined =>
  routeOf(path)?.operations[method.toLowerCase()];

const pointer = (...steps: readonly string[]): string =>
  steps.map((step) => `/${encodeURIComponent(step.replaceAll("~", "~0").replaceAll("/", "~1"))}`).join("");

const validators = new Map<string, ValidateFunction>();
function validatorOf(place: string): ValidateFunction {
  const known = validators.get(place);
  if (known !== undefined) return known;
  const made = ajv.compile({ $ref: `${BASE}#${place}` });
  validators.set(place, made);
  return made;
}

/** What about the answer is not as the document says; null when it is, or when there is no such operation. */
function breach({ method, path, status, contentType, body }: Exchange): string | null {
  const route = routeOf(path);
  const operation = route?.operations[method.toLowerCase()];
  if (route === undefined || operation === undefined) return null;
  const name = `${method} ${path.split("?", 1)[0]} answered ${status}`;
  const response = operation.responses[status];
  if (response === undefined) return `${name}, which the document does not know`;
  if (response.content === undefined) return body === null ? null : `${name} with a body`;
  if (body === null) return method === "HEAD" ? null : `${name} without a body`;
  const type = (contentType ?? "").split(";", 1)[0]!.trim();
  const media = response.content[type] ?? response.content["*/*"];
  if (media === undefined) return `${name} as ${type}`;
  if (media.schema === undefined || !/[/+]json$/.test(type)) return null;
  const place = pointer(
    "paths",
    route.template,
    method.toLowerCase(),
    "responses",
    String(status),
    "content",
    type,
    "schema",
  );
  const validate = validatorOf(place);
  if (validate(body)) return null;
  const problems = (validate.errors ?? []).map(
    ({ instancePath, message }) => `${instancePath || "/"} ${message}`,
  );
  return `${name} with another body than documented: ${problems.join("; ")}`;
}

/** Throws when the answer is not as the document says. */
export function holdToContract(exchange: Exchange): void {
  const problem = breach(exchange);
  if (problem !== null) throw new Error(problem);
}
