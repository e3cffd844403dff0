/** JSON bodies: koa-body behind a door that knows what it lets through and what its errors mean. */
import { koaBody } from "koa-body";
import Joi from "joi";
import {
  PayloadTooLargeError,
  RequestTimeoutError,
  UnsupportedMediaTypeError,
  ValidationError,
} from "../../utils/errors.js";
import type { AppContext } from "../types.js";
import { validate } from "./validation.js";

export const JSON_BODY_MAX_BYTES = 256 * 1024;
const BODY_TIMEOUT_MS = 10_000;
const nothing = Joi.object({});

type ParserOptions = NonNullable<Parameters<typeof koaBody>[0]>;
/** By default DELETE is not among them, and its body would count as none. Of an enum that koa-body keeps to itself. */
const PARSED_METHODS = ["POST", "PUT", "PATCH", "DELETE"] as NonNullable<ParserOptions["parsedMethods"]>;

const hasBody = ({ req }: AppContext): boolean =>
  req.headers["transfer-encoding"] !== undefined || Number(req.headers["content-length"] ?? 0) > 0;

/** Reads and parses the body; `{}` when there is none, so that validation can name what is missing. */
export function jsonBody(
  maxBytes = JSON_BODY_MAX_BYTES,
  timeoutMs = BODY_TIMEOUT_MS,
): (ctx: AppContext) => Promise<unknown> {
  const parse = koaBody({
    jsonLimit: maxBytes,
    jsonTypes: ["application/json"],
    parsedMethods: PARSED_METHODS,
    multipart: false,
    text: false,
    urlencoded: false,
    patchNode: false,
    onError: (error) => {
      throw bodyError(error, maxBytes);
    },
  });
  const parseInto = async (ctx: AppContext): Promise<void> => {
    await parse(ctx, () => Promise.resolve());
  };
  return async (ctx) => {
    if (!hasBody(ctx)) return {};
    checkMediaType(ctx);
    await withinTime(parseInto(ctx), timeoutMs);
    return "body" in ctx.request ? ctx.request.body : {};
  };
}

const readAnything = jsonBody();

/** For endpoints that take no body. An empty JSON object passes: some clients always send one. */
export async function refuseBody(ctx: AppContext): Promise<undefined> {
  validate(nothing, await readAnything(ctx), "request body");
  return undefined;
}

/** koa-body lets unknown types pass unread, which would look like an empty body. */
function checkMediaType(ctx: AppContext): void {
  if (ctx.request.is("application/json") !== "application/json") {
    throw new UnsupportedMediaTypeError("The body must be application/json");
  }
  const charset = ctx.request.charset.toLowerCase();
  if (charset !== "" && charset !== "utf-8" && charset !== "utf8") {
    throw new UnsupportedMediaTypeError("JSON must be UTF-8");
  }
}

/** A client that drips its body holds a socket, not a handler. */
async function withinTime(parsing: Promise<void>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new RequestTimeoutError()), timeoutMs);
  });
  try {
    await Promise.race([parsing, late]);
  } finally {
    clearTimeout(timer);
    parsing.catch(() => undefined); // after a timeout nobody waits for it any more
  }
}

/** Never passes on the parser's error: it carries the whole body, passwords included. */
function bodyError(error: Error & { status?: number; code?: string }, maxBytes: number): Error {
  if (error.status === 413) return new PayloadTooLargeError(maxBytes);
  if (error.status === 415) return new UnsupportedMediaTypeError("This Content-Encoding is not supported");
  const compressed = typeof error.code === "string" && error.code.startsWith("Z_");
  const message = compressed
    ? "The body cannot be decompressed"
    : "The body is not valid JSON, or was cut short";
  return new ValidationError(message, [{ path: "", code: "malformed_json", message }], "malformed_json");
}
