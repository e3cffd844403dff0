import Joi from "joi";
import { type Endpoint, endpoint, type NoInput } from "../../middleware/endpoint.js";
import { PROBLEM_TYPE } from "../../middleware/errorHandler.js";
import { component } from "../../openapi/components.js";

const count = () => Joi.number().integer().required();
const latency = () =>
  Joi.number().allow(null).required().description("Milliseconds; null when it does not answer");

const pool = Joi.object({ min: count(), max: count(), used: count(), free: count(), pending: count() });

const PROBLEMS = ["down", "unknown", "not_a_standby", "other_history", "behind", "failing"];

const statusView = component("Health", Joi.object({ status: Joi.string().valid("ok").required() }));

export const databaseView = component(
  "DatabaseHealth",
  Joi.object({
    primary: Joi.object({
      state: Joi.string().valid("up", "down").required(),
      latencyMs: latency(),
      pools: Joi.object({ knex: pool.required(), pg: pool.required() }).required(),
      migration: Joi.string().allow(null).required().description("The newest migration that was applied"),
    }).required(),
    replica: Joi.object({
      state: Joi.string().valid("up", "down").required(),
      problem: Joi.alternatives(Joi.string().valid(...PROBLEMS), Joi.valid(null))
        .required()
        .description(
          "Why the primary answers in its place: no answer; no standby; a copy of another server, or of a past that the " +
            "primary has left; further behind than REPLICA_MAX_LAG_MS; its last answers were errors",
        ),
      latencyMs: latency(),
      lagMs: Joi.number()
        .integer()
        .allow(null)
        .required()
        .description(
          "It has everything that was committed before this long ago; 0: it is level; null: not known",
        ),
      lagBytes: Joi.number()
        .integer()
        .allow(null)
        .required()
        .description("Log of the primary that it has not replayed"),
      pools: Joi.object({ pg: pool.required() }).required(),
    })
      .allow(null)
      .required()
      .description("null: there is none"),
  }),
);

/** The problem that stands for a database that does not answer tells of it as well. */
const databaseDownView = component(
  "DatabaseDown",
  databaseView.keys({
    type: Joi.string().required(),
    title: Joi.string().required(),
    status: Joi.valid(503).required(),
    detail: Joi.string().required(),
    code: Joi.valid("database").required(),
    requestId: Joi.string().required(),
    errors: Joi.array().length(0).required(),
  }),
);

const dependency = (extra: Joi.SchemaMap) =>
  Joi.object({ ok: Joi.boolean().required(), ...extra }).required();

export const dependenciesView = component(
  "Dependencies",
  Joi.object({
    status: Joi.string().valid("ok", "degraded").required(),
    redis: dependency({ latencyMs: latency() }),
    queue: dependency({
      kind: Joi.string().valid("temporal", "bullmq").required().description("What runs imports and syncs"),
      latencyMs: latency(),
      detail: Joi.string().allow(null).required(),
    }),
    temporal: dependency({ latencyMs: latency(), detail: Joi.string().allow(null).required() })
      .allow(null)
      .description("As `queue`; null: nobody uses it, for imports run on BullMQ"),
    blobStore: dependency({ detail: Joi.string().allow(null).required() }),
  }),
);

type HealthEndpoint = Endpoint<NoInput, object, undefined, "none">;

interface Check {
  readonly path: string;
  readonly name: string;
  readonly summary: string;
  readonly answer: string;
  readonly schema: Joi.Schema;
  /** In place of the problem that any endpoint can answer with 503. */
  readonly down?: Joi.Schema;
}

/** Once at the root, for probes, and once below /api/v1, for clients. */
const atBothRoots = ({ path, name, summary, answer, schema, down }: Check): readonly HealthEndpoint[] =>
  ["", "/api/v1"].map((root) =>
    endpoint({
      method: "get",
      path: `${root}${path}`,
      operationId: root === "" ? name : `${name}V1`,
      summary,
      tags: ["health"],
      auth: "none",
      rateClass: "unlimited",
      // Probes add parameters of their own.
      query: Joi.object<object>({}).unknown(true),
      responses: {
        200: { description: answer, schema },
        ...(down === undefined
          ? {}
          : { 503: { description: "No answer", schema: down, contentType: PROBLEM_TYPE } }),
      },
    }),
  );

export const live = atBothRoots({
  path: "/health",
  name: "health",
  summary: "Whether the process runs",
  answer: "It does",
  schema: statusView,
});

export const ready = atBothRoots({
  path: "/health/ready",
  name: "healthReady",
  summary: "Whether requests can be served: the database answers",
  answer: "Ready",
  schema: statusView,
});

export const database = atBothRoots({
  path: "/health/db",
  name: "healthDatabase",
  summary: "The database and the connections to it",
  answer: "The database answers; without an answer the same fields stand in a 503 problem",
  schema: databaseView,
  down: databaseDownView,
});

export const dependencies = atBothRoots({
  path: "/health/dependencies",
  name: "healthDependencies",
  summary: "What imports and speed need, and requests do not",
  answer: "The state of each; `degraded` when one does not answer",
  schema: dependenciesView,
});
