import Joi from "joi";
import { LEDGER_REASONS, LEDGER_VERDICTS, type LedgerVerdict } from "../../../services/import/ledger.js";
import { endpoint, streamBody } from "../../middleware/endpoint.js";
import { cursor, pageSize, text, uuid } from "../../schemas.js";
import { uploadOptions, type UploadOptions } from "../../upload/options.js";
import { importView, ledgerRow } from "./view.js";

const PATH = "/api/v1/imports";
const ONE = `${PATH}/:id`;
const tags = ["imports"];
const FILENAME_MAX_BYTES = 1000;

export type CreateImportQuery = UploadOptions & { readonly filename?: string };

/** The same in the fields of a form, where everything is text. */
const formFields = (
  Joi.object(uploadOptions)["~standard"].jsonSchema.input({ target: "draft-2020-12" }) as {
    readonly properties: Readonly<Record<string, object>>;
  }
).properties;

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
  scope: "import",
  rateClass: "uploads",
  query: Joi.object<CreateImportQuery>({
    filename: text(FILENAME_MAX_BYTES).description("Name of the file, for a body that is the file itself"),
    ...uploadOptions,
  }),
  body: streamBody({
    "application/zip": binary,
    "application/json": binary,
    "application/x-ndjson": binary,
    "text/csv": binary,
    "text/html": binary,
    "application/gzip": binary,
    "application/x-tar": binary,
    "application/octet-stream": binary,
    "multipart/form-data": {
      type: "object",
      properties: { file: binary, ...formFields },
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
    415: "The file is no ZIP or tar archive, no gzip file and no text",
    422: "This Idempotency-Key was used with another upload",
    429:
      "`too_many_uploads`: too many at once, or in 24 hours; `upload_quota`: your uploads that are kept take all the " +
      "room you have; `rate_limited`: too many in a minute",
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
  responses: {
    200: {
      description: "One page; or all rows as CSV",
      schema: pageOf(ledgerRow),
      also: {
        "text/csv":
          "part,position,verdict,reason,message,excerpt,listenId\r\n" +
          "history.json,118,skipped,podcast,A podcast episode,,\r\n",
      },
    },
  },
  errors: notFound,
});

export const cancelImport = endpoint({
  method: "post",
  path: `${ONE}/cancel`,
  operationId: "cancelImport",
  summary: "Cancel an import; what it brought so far stays",
  tags,
  auth: "user",
  scope: "import",
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
  scope: "import",
  params,
  responses: {
    200: { description: "It is under way already", schema: importView },
    202: { description: "It is queued again", schema: importView },
  },
  errors: { ...notFound, 409: "`wrong_state`, or `upload_gone` when the upload is not kept any more" },
});

export const pauseImport = endpoint({
  method: "post",
  path: `${ONE}/pause`,
  operationId: "pauseImport",
  summary: "Pause an import; it stops at the next batch and waits to be resumed",
  tags,
  auth: "user",
  scope: "import",
  params,
  responses: { 200: { description: "It is paused, or was already", schema: importView } },
  errors: { ...notFound, 409: "It is neither queued nor running" },
});

export const resumeImport = endpoint({
  method: "post",
  path: `${ONE}/resume`,
  operationId: "resumeImport",
  summary: "Let a paused import go on where it stopped",
  tags,
  auth: "user",
  scope: "import",
  params,
  responses: { 200: { description: "It goes on, or was under way already", schema: importView } },
  errors: { ...notFound, 409: "It is over, or about to be" },
});

export const undoImport = endpoint({
  method: "post",
  path: `${ONE}/undo`,
  operationId: "undoImport",
  summary: "Remove the plays that only this import has brought",
  description:
    "For imports that are over, however they ended. A play that another import has brought too stays, and belongs " +
    "to that one from then on. The import itself and what became of its rows can still be looked at.",
  tags,
  auth: "user",
  scope: "import",
  params,
  responses: {
    200: { description: "It is undone already, or about to be", schema: importView },
    202: { description: "Its plays are being removed", schema: importView },
  },
  errors: { ...notFound, 409: "It is not over" },
});

export const watchImport = endpoint({
  method: "get",
  path: `${ONE}/events`,
  operationId: "watchImport",
  summary: "Watch an import as Server-Sent Events",
  description:
    "One event `job` now and one after each change: `id` is the version of the import, `data` the import as in " +
    "`GET /imports/{id}`. A reader that is slower than the changes gets the newest, not every one. Comment lines keep " +
    "the connection alive. The stream ends after the event of an import that is over, and when the session does. Its " +
    "header `Last-Event-ID` lets a client that comes back wait for the next change; 204 says that there will be none. " +
    "The access token goes into the header `Authorization`, as everywhere.",
  tags,
  auth: "user",
  params,
  responses: {
    200: {
      description: "Events, until the import is over",
      contentType: "text/event-stream",
      schema: Joi.string(),
      example:
        'retry: 2000\n\nid: 7\nevent: job\ndata: {"id":"01a2138d-3f7d-7002-bc2e-c00644d1f5f2","status":"running","...":"..."}\n\n' +
        ": keep-alive\n\n",
    },
    204: { description: "The import is over, and `Last-Event-ID` names its last version" },
  },
  errors: {
    ...notFound,
    429: "`too_many_streams`: you are listening too often at once; `rate_limited`: too many requests",
  },
});

function pageOf(item: Joi.Schema): Joi.ObjectSchema {
  return Joi.object({
    data: Joi.array().items(item).required(),
    nextCursor: Joi.string().allow(null).required().description("null on the last page"),
  });
}
