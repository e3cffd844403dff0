/** The OpenAPI 3.1 document, from the same declarations that route and validate. Keys are in a fixed order. */
import type Joi from "joi";
import { type Endpoint, type ResponseDoc, type StreamBody } from "../middleware/endpoint.js";
import { PROBLEM_TYPE } from "../middleware/errorHandler.js";
import { componentName, components } from "./components.js";

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
      ...Object.fromEntries(
        Object.entries(endpoint.responses).map(([status, response]) => [status, responseOf(response)]),
      ),
      ...(endpoint.cache === undefined ? {} : { 304: { description: NOT_MODIFIED } }),
      ...problems(endpoint),
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
      : { "application/json": { schema: inputSchema(body) } };
  return { required: true, content };
}

function responseOf(response: ResponseDoc): Json {
  const { description, schema, contentType = "application/json", example, headers } = response;
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
      : { content: { [contentType]: { schema: outputSchema(schema), ...shown } } }),
  };
}

/** What every endpoint of a kind can answer, and what its declaration adds. */
function problems({ method, auth, params, errors, role, conditional }: Endpoint): Json {
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
    503: "Something playlog stands on does not answer; try again after `Retry-After` seconds",
    ...errors,
  };
  const content = { [PROBLEM_TYPE]: { schema: { $ref: "#/components/schemas/Problem" } } };
  return Object.fromEntries(
    Object.entries(said).map(([status, description]) => [status, { description, content }]),
  );
}
