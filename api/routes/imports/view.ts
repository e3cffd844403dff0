/** What answers about imports look like. */
import Joi from "joi";
import { IMPORT_STATUSES } from "../../../services/import/jobs.js";
import { LEDGER_REASONS, LEDGER_VERDICTS } from "../../../services/import/ledger.js";
import { component } from "../../openapi/components.js";
import { id, uuid } from "../../schemas.js";

const count = () => Joi.number().integer().min(0).required();
const time = () => Joi.string().isoDate().required();
const byReason = () => Joi.object().pattern(Joi.string(), Joi.number().integer().min(1)).required();
const failure = () =>
  Joi.object({ code: Joi.string().required(), message: Joi.string().required() }).allow(null).required();

const counts = Joi.object({
  read: count().description("read = inserted + duplicate + skipped + rejected, at all times"),
  inserted: count(),
  duplicate: count(),
  skipped: count(),
  rejected: count(),
  linked: count().description(
    "How many of the inserted are another sighting of a play of another source; 0 for a dry run",
  ),
}).required();

export const importView = component(
  "ImportJob",
  Joi.object({
    id: uuid().required(),
    kind: Joi.string().valid("file", "sync").required(),
    status: Joi.string()
      .valid(...IMPORT_STATUSES)
      .required()
      .description("completed_with_errors: a file or a row was rejected, everything readable is in"),
    source: Joi.string()
      .allow(null)
      .required()
      .description("What the upload asked for; null: whatever it holds"),
    sources: Joi.array().items(Joi.string()).required().description("Families found in the upload"),
    filename: Joi.string().allow(null).required(),
    sizeBytes: Joi.number().integer().allow(null).required(),
    sha256: Joi.string().hex().allow(null).required(),
    dryRun: Joi.boolean().required(),
    options: Joi.object({
      source: Joi.string().allow(null).required(),
      from: time().allow(null),
      until: time().allow(null),
      includeIncognito: Joi.boolean().required(),
    }).required(),
    counts,
    skipped: byReason().description("How many rows, by reason"),
    rejected: byReason(),
    duplicate: byReason(),
    progress: Joi.object({
      percent: Joi.number().integer().min(0).max(100).required(),
      bytesRead: count(),
      bytesTotal: count(),
      partsDone: count(),
      partsTotal: count(),
    }).required(),
    parts: Joi.array()
      .items(
        Joi.object({
          name: Joi.string().required().description("Path inside the upload"),
          format: Joi.string().allow(null).required(),
          status: Joi.string().valid("queued", "running", "done", "skipped", "failed").required(),
          counts,
          error: failure(),
        }),
      )
      .required(),
    waiting: Joi.object({
      reason: Joi.string().required(),
      until: Joi.string().isoDate().allow(null).required(),
    })
      .allow(null)
      .required(),
    error: failure(),
    workflowId: Joi.string().required().description("Id of the workflow, for the Temporal UI"),
    createdAt: time(),
    startedAt: time().allow(null),
    finishedAt: time().allow(null),
  }),
);

export const ledgerRow = component(
  "LedgerRow",
  Joi.object({
    part: Joi.string().required().description("Path of the file inside the upload"),
    position: count().description("Index of the record in its file, from 0"),
    verdict: Joi.string()
      .valid(...LEDGER_VERDICTS)
      .required(),
    reason: Joi.string()
      .valid(...LEDGER_REASONS)
      .required(),
    message: Joi.string().required(),
    excerpt: Joi.string()
      .allow(null)
      .required()
      .description("The record without personal fields, at most 1 KB"),
    listenId: id().allow(null).required().description("The play that a duplicate repeats"),
  }),
);
