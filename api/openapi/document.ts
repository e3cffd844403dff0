/** The OpenAPI 3.1 document, from the same declarations that route and validate. Keys are in a fixed order. */
import { STATUS_CODES } from "node:http";
import type Joi from "joi";
import { type Endpoint, rateClassOf, type ResponseDoc, type StreamBody } from "../middleware/endpoint.js";
import { PROBLEM_TYPE } from "../middleware/errorHandler.js";
import { componentName, components } from "./components.js";
import { exampleOf } from "./examples.js";

type Json = Record<string, unknown>;

const TARGET = { target: "draft-2020-12" } as const;

/** `or`, `xor` and `custom` rules do not show in JSON Schema; descriptions say them. */
const inputSchema = (schema: Joi.Schema): Json => schema["~standard"].jsonSchema.input(TARGET);
const outputSchema = (schema: Joi.Schema): Json => {
  const name = componentName(schema);
  return name === undefined
    ? schema["~standard"].jsonSchema.output(TARGET)
    : { $ref: `#/components/schemas/${name}` };
};

const problem: Json = {
  type: "object",
  description: "Every error, as RFC 9457 says. `code` is for programs, `detail` for people.",
  properties: {
    type: { type: "string", description: "`urn:playlog:problem:` and the code" },
    title: { type: "string" },
    status: { type: "integer" },
    detail: { type: "string" },
    code: { type: "string" },
    requestId: { type: "string", description: "Also in the header X-Request-Id of every answer" },
    errors: {
      type: "array",
      items: {
        type: "object",
        properties: {
          path: { type: "string", description: "Which part of the input; empty for the whole" },
          code: { type: "string" },
          message: { type: "string" },
        },
        required: ["path", "code", "message"],
        additionalProperties: false,
      },
    },
  },
  required: ["type", "title", "status", "detail", "code", "requestId", "errors"],
  additionalProperties: false,
};

const ifMatch: Json = {
  name: "If-Match",
  in: "header",
  required: false,
  description: "An `ETag` of this resource: change it only if it is still as it was then",
  schema: { type: "string" },
};

const NOT_MODIFIED = "The client has this answer already: `If-None-Match` named its `ETag`";

/** Version of the contract, not of the program. */
const API_VERSION = "1.0.0";

export interface DocumentOptions {
  readonly endpoints: readonly Endpoint[];
}

export function openApiDocument({ endpoints }: DocumentOptions): Json {
  const paths: Record<string, Json> = {};
  for (const endpoint of endpoints) {
    const path = endpoint.path.replace(/:(\w+)/g, "{$1}");
    const item = (paths[path] ??= {});
    if (endpoint.method in item) throw new Error(`${endpoint.method} ${path} is declared twice`);
    item[endpoint.method] = operation(endpoint);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "playlog",
      version: API_VERSION,
      description: "Your listening history, imported from the exports of streaming services.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    tags: [...new Set(endpoints.flatMap(({ tags }) => tags))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } },
      schemas: {
        Problem: problem,
        ...Object.fromEntries(
          [...components()].map(([name, schema]) => [name, schema["~standard"].jsonSchema.output(TARGET)]),
        ),
      },
    },
  };
}

function operation(endpoint: Endpoint): Json {
  const { operationId, summary, description, tags, auth, body } = endpoint;
  const parameters = [
    ...parametersOf(endpoint.params, "path"),
    ...parametersOf(endpoint.query, "query"),
    ...(endpoint.conditional === true ? [ifMatch] : []),
  ];
  return {
    operationId,
    summary,
    ...(description === undefined ? {} : { description }),
    tags: [...tags],
    security: auth === "user" ? [{ bearer: [] }] : [],
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: requestBody(body) }),
    responses: {
      ...(endpoint.cache === undefined ? {} : { 304: { description: NOT_MODIFIED } }),
      ...problems(endpoint),
      ...Object.fromEntries(
        Object.entries(endpoint.responses).map(([status, response]) => [status, responseOf(response)]),
      ),
    },
  };
}

function parametersOf(schema: Joi.ObjectSchema | undefined, place: "path" | "query"): Json[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = inputSchema(schema) as {
    properties?: Record<string, Json>;
    required?: readonly string[];
  };
  return Object.entries(properties).map(([name, { description, ...shape }]) => ({
    name,
    in: place,
    required: place === "path" || required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: shape,
  }));
}

function requestBody(body: Joi.ObjectSchema | StreamBody): Json {
  const content =
    "stream" in body
      ? Object.fromEntries(Object.entries(body.contentTypes).map(([type, schema]) => [type, { schema }]))
      : { "application/json": withExample(inputSchema(body)) };
  return { required: true, content };
}

const resolve = (ref: string): Json => {
  const schema = components().get(ref.replace("#/components/schemas/", ""));
  if (schema === undefined) throw new Error(`${ref} stands for nothing`);
  return schema["~standard"].jsonSchema.output(TARGET);
};

const withExample = (schema: Json): Json => ({ schema, example: exampleOf(schema, resolve) });

function responseOf(response: ResponseDoc): Json {
  const { description, schema, contentType = "application/json", example, headers, also = {} } = response;
  const shown = example === undefined ? {} : { example };
  return {
    description,
    ...(headers === undefined
      ? {}
      : {
          headers: Object.fromEntries(
            Object.entries(headers).map(([name, text]) => [
              name,
              { description: text, schema: { type: "string" } },
            ]),
          ),
        }),
    ...(schema === undefined
      ? {}
      : {
          content: {
            [contentType]: contentType.endsWith("json")
              ? { ...withExample(outputSchema(schema)), ...shown }
              : { schema: outputSchema(schema), ...shown },
            ...Object.fromEntries(
              Object.entries(also).map(([type, sample]) => [
                type,
                { schema: { type: "string" }, example: sample },
              ]),
            ),
          },
        }),
  };
}

const PROBLEM = { $ref: "#/components/schemas/Problem" };

/** By status: the code that is met most often, and what is said then. */
const PROBLEMS: Readonly<Record<string, readonly [code: string, detail: string]>> = {
  400: ["validation", "Something in the request is not valid"],
  401: ["unauthorized", "A valid access token is required"],
  403: ["forbidden", "This is not yours to do"],
  404: ["not_found", "There is nothing at this address"],
  408: ["request_timeout", "The body did not arrive in time"],
  409: ["wrong_state", "This cannot be done in its present state"],
  412: ["precondition_failed", "This has changed since you read it; read it again"],
  413: ["too_large", "The body is larger than 262144 bytes"],
  415: ["unsupported_media_type", "The body must be application/json"],
  422: ["idempotency_mismatch", "This Idempotency-Key was used with a different request"],
  429: ["rate_limited", "Too many requests"],
  500: ["internal", "Something went wrong here"],
  503: ["unavailable", "Something playlog stands on does not answer"],
};

function problemExample(status: string): Json {
  const [code, detail] = PROBLEMS[status] ?? ["error", "Something is wrong"];
  return {
    type: `urn:playlog:problem:${code}`,
    title: STATUS_CODES[status] ?? "Error",
    status: Number(status),
    detail,
    code,
    requestId: "0193e5c1-7a40-7d5e-9a3b-2f6c8d1e4b70",
    errors:
      status === "400"
        ? [{ path: "limit", code: "out_of_range", message: "limit must be at most 1000" }]
        : [],
  };
}

/** What every endpoint of a kind can answer, and what its declaration adds. */
function problems(endpoint: Endpoint): Json {
  const { method, auth, params, errors, role, conditional } = endpoint;
  const said: Record<number, string> = {
    400: "Something in the request is not valid; `errors` names it",
    ...(auth === "user" ? { 401: "No valid access token" } : {}),
    ...(auth === "user"
      ? { 403: role === undefined ? "An API token without the scope" : `Your role is not ${role} or higher` }
      : {}),
    ...(conditional === true ? { 412: "`If-Match` names a state that is over" } : {}),
    ...(params === undefined ? {} : { 404: "There is nothing at this address, or it is not yours" }),
    // An endpoint that takes no body looks at what is sent all the same.
    ...(method === "get"
      ? {}
      : {
          408: "The body did not arrive in time",
          413: "The body is larger than allowed",
          415: "The content type or encoding is not supported",
        }),
    ...(rateClassOf(endpoint) === "unlimited"
      ? {}
      : { 429: "Too many requests of this kind; try again after `Retry-After` seconds" }),
    500: "A mistake of ours; with the `requestId` its cause can be found in the log",
    503: "Something playlog stands on does not answer; try again after `Retry-After` seconds",
    ...errors,
  };
  return Object.fromEntries(
    Object.entries(said).map(([status, description]) => [
      status,
      { description, content: { [PROBLEM_TYPE]: { schema: PROBLEM, example: problemExample(status) } } },
    ]),
  );
}
