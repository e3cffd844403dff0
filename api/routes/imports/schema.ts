import Joi from "joi";
import { SOURCE_FILTERS } from "../../../services/history/sources.js";
import { IMPORT_STATUSES } from "../../../services/import/jobs.js";
import { LEDGER_REASONS, LEDGER_VERDICTS, type LedgerVerdict } from "../../../services/import/ledger.js";
import { isImportableSource } from "../../../services/import/prepare.js";
import { endpoint, streamBody } from "../../middleware/endpoint.js";
import { component } from "../../openapi/components.js";
import { cursor, id, pageSize, text, uuid } from "../../schemas.js";

const PATH = "/api/v1/imports";
const ONE = `${PATH}/:id`;
const tags = ["imports"];
const FILENAME_MAX_BYTES = 1000;

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
  linked: count().description("How many of the inserted are another sighting of a play of another source"),
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
    options: Joi.object({ source: Joi.string().allow(null).required() }).required(),
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

const ledgerRow = component(
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

const importableSource = () =>
  Joi.string()
    .valid(...SOURCE_FILTERS.filter(isImportableSource))
    .description("Import only files of this family or provider; by default whatever the upload holds");

/** Part of the contract, but not built: every value is refused by the handler, which names the option. */
export const UNSUPPORTED_OPTIONS = ["dryRun", "from", "until", "includeIncognito"] as const;
const unsupported = Object.fromEntries(
  UNSUPPORTED_OPTIONS.map((name) => [
    name,
    Joi.string().allow("").description("Not supported yet: 400 not_supported"),
  ]),
);

export interface UploadOptions {
  readonly source?: string;
}

/** Options in the fields of a form; in a query string they stand beside `filename`. */
export const formOptions = Joi.object<UploadOptions>({ source: importableSource() });

export type CreateImportQuery = UploadOptions & { readonly filename?: string } & {
  readonly [Name in (typeof UNSUPPORTED_OPTIONS)[number]]?: string;
};

const binary = { type: "string", format: "binary" };

export const createImport = endpoint({
  method: "post",
  path: PATH,
  operationId: "createImport",
  summary: "Upload an export and import it",
  description:
    "The file as the body, or in a form as the field `file` with the options as other fields. Formats are told " +
    "by content, not by name or type, and an archive may hold several. The answer comes when the upload is " +
    "stored for good; the import itself runs on and its resource tells how far it is. With an Idempotency-Key " +
    "the same upload sent again gets the first answer again, for 24 hours.",
  tags,
  auth: "user",
  query: Joi.object<CreateImportQuery>({
    filename: text(FILENAME_MAX_BYTES).description("Name of the file, for a body that is the file itself"),
    source: importableSource(),
    ...unsupported,
  }),
  body: streamBody({
    "application/zip": binary,
    "application/json": binary,
    "application/x-ndjson": binary,
    "text/csv": binary,
    "text/html": binary,
    "application/gzip": binary,
    "application/octet-stream": binary,
    "multipart/form-data": {
      type: "object",
      properties: { file: binary, source: { type: "string" } },
      required: ["file"],
    },
  }),
  responses: {
    200: { description: "The same upload is being imported already", schema: importView },
    202: {
      description: "Stored; the import begins",
      schema: importView,
      headers: { Location: "The import" },
    },
  },
  errors: {
    408: "The upload arrives too slowly",
    409: "A request with this Idempotency-Key is still being answered",
    413: "The upload is larger than the limit, or a form has several files",
    415: "The file is no ZIP archive, no gzip file and no text",
    422: "This Idempotency-Key was used with another upload",
    429: "Too many uploads at once",
  },
});

const params = Joi.object<{ id: string }>({ id: uuid().required() });
const notFound = { 404: "No such import of yours" };

export const listImports = endpoint({
  method: "get",
  path: PATH,
  operationId: "listImports",
  summary: "List your imports, newest first",
  tags,
  auth: "user",
  query: Joi.object<{ limit: number; cursor?: string }>({ limit: pageSize(), cursor: cursor() }),
  responses: { 200: { description: "One page", schema: pageOf(importView) } },
});

export const showImport = endpoint({
  method: "get",
  path: ONE,
  operationId: "showImport",
  summary: "Show an import: how far it is and what became of its rows",
  tags,
  auth: "user",
  params,
  responses: { 200: { description: "The import", schema: importView } },
  errors: notFound,
});

export interface LedgerQuery {
  readonly verdict?: LedgerVerdict;
  readonly reason?: string;
  readonly limit: number;
  readonly cursor?: string;
}

export const listImportRows = endpoint({
  method: "get",
  path: `${ONE}/rows`,
  operationId: "listImportRows",
  summary: "List the rows of an import that became no play, and why",
  description:
    "In order of file and position. With `Accept: text/csv` all rows that fit come as one CSV document, whatever " +
    "`limit` and `cursor` say; a cell that a spreadsheet would take for a formula begins with an apostrophe there.",
  tags,
  auth: "user",
  params,
  query: Joi.object<LedgerQuery>({
    verdict: Joi.string().valid(...LEDGER_VERDICTS),
    reason: Joi.string().valid(...LEDGER_REASONS),
    limit: pageSize(),
    cursor: cursor(),
  }),
  responses: { 200: { description: "One page", schema: pageOf(ledgerRow) } },
  errors: notFound,
});

export const cancelImport = endpoint({
  method: "post",
  path: `${ONE}/cancel`,
  operationId: "cancelImport",
  summary: "Cancel an import; what it brought so far stays",
  tags,
  auth: "user",
  params,
  responses: {
    200: { description: "It is cancelled already, or about to be", schema: importView },
    202: { description: "It stops at the next batch", schema: importView },
  },
  errors: { ...notFound, 409: "It is over" },
});

export const retryImport = endpoint({
  method: "post",
  path: `${ONE}/retry`,
  operationId: "retryImport",
  summary: "Run the files of an import again that are not done",
  description:
    "For imports that failed, were cancelled or completed with errors, while their upload is kept.",
  tags,
  auth: "user",
  params,
  responses: {
    200: { description: "It is under way already", schema: importView },
    202: { description: "It is queued again", schema: importView },
  },
  errors: { ...notFound, 409: "`wrong_state`, or `upload_gone` when the upload is not kept any more" },
});

function pageOf(item: Joi.Schema): Joi.ObjectSchema {
  return Joi.object({
    data: Joi.array().items(item).required(),
    nextCursor: Joi.string().allow(null).required().description("null on the last page"),
  });
}
