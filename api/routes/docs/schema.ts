import Joi from "joi";
import { endpoint } from "../../middleware/endpoint.js";

export const showDocument = endpoint({
  method: "get",
  path: "/openapi.json",
  operationId: "openApiDocument",
  summary: "This document",
  tags: ["docs"],
  auth: "none",
  rateClass: "unlimited",
  responses: { 200: { description: "OpenAPI 3.1", schema: Joi.object().unknown(true) } },
});

export const showPage = endpoint({
  method: "get",
  path: "/docs",
  operationId: "docsPage",
  summary: "This document, to read and to try",
  tags: ["docs"],
  auth: "none",
  rateClass: "unlimited",
  responses: { 200: { description: "A page", schema: Joi.string(), contentType: "text/html" } },
});

export const showAsset = endpoint({
  method: "get",
  path: "/docs/assets/:file",
  operationId: "docsAsset",
  summary: "A file of the documentation page",
  tags: ["docs"],
  auth: "none",
  rateClass: "unlimited",
  params: Joi.object<{ file: string }, true>({ file: Joi.string().max(100).required() }),
  responses: { 200: { description: "The file", schema: Joi.string(), contentType: "*/*" } },
});
