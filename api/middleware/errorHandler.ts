/** The one renderer of errors: every status above 399 leaves as a problem document (RFC 9457). */
import { STATUS_CODES } from "node:http";
import { toAppError } from "../../db/errors.js";
import { QueueUnavailableError } from "../../services/import/ImportQueue.js";
import {
  AppError,
  type ErrorDetail,
  MethodNotAllowedError,
  NotFoundError,
  PayloadTooLargeError,
  TooManyRequestsError,
  UnauthorizedError,
  UnavailableError,
  UnsupportedMediaTypeError,
  ValidationError,
} from "../../utils/errors.js";
import type { AppContext, AppMiddleware } from "../types.js";

export const PROBLEM_TYPE = "application/problem+json";

/** How long a client may go on sending a body that is already refused, so that it gets to read the answer. */
const LINGER_MS = 2000;

/** Catches everything below it. Must run inside `requestContext`. */
export const errorHandler: AppMiddleware = async (ctx, next) => {
  try {
    await next();
    if (ctx.status === 404 && ctx.body === undefined) throw new NotFoundError();
  } catch (thrown) {
    const error = known(thrown);
    report(ctx, error, thrown);
    if (ctx.headerSent) {
      ctx.res.destroy();
      return;
    }
    render(ctx, error);
    closeUnlessRead(ctx);
  }
};

/** null: nobody foresaw it. */
function known(thrown: unknown): AppError | null {
  const error = toAppError(thrown);
  if (error instanceof AppError) return error;
  if (error instanceof QueueUnavailableError) {
    return new UnavailableError("queue_unavailable", "The import queue does not answer", 5, { cause: error });
  }
  return error instanceof Error && "status" in error ? fromHttpError(Number(error.status)) : null;
}

/** Errors that koa and its packages throw; their messages are not ours and are not passed on. */
function fromHttpError(status: number): AppError | null {
  switch (status) {
    case 400:
      return new ValidationError("The request cannot be understood", [], "bad_request");
    case 401:
      return new UnauthorizedError();
    case 404:
      return new NotFoundError();
    case 413:
      return new PayloadTooLargeError(0);
    case 415:
      return new UnsupportedMediaTypeError("This content type or encoding is not supported");
    default:
      return null;
  }
}

function report(ctx: AppContext, error: AppError | null, thrown: unknown): void {
  if (error === null) ctx.state.log.error("request failed", { error: thrown });
  else if (error.status >= 500) ctx.state.log.warn("request refused", { code: error.code, error: thrown });
}

function render(ctx: AppContext, error: AppError | null): void {
  ctx.remove("ETag");
  ctx.remove("Last-Modified");
  ctx.remove("Content-Disposition");
  ctx.set("Cache-Control", "no-store");
  if (error instanceof UnauthorizedError) ctx.set("WWW-Authenticate", challenge(ctx));
  if (error instanceof MethodNotAllowedError) ctx.set("Allow", error.allow.join(", "));
  if (error instanceof UnavailableError || error instanceof TooManyRequestsError) {
    ctx.set("Retry-After", String(Math.max(1, Math.ceil(error.retryAfterSeconds))));
  }
  answerProblem(ctx, {
    status: error?.status ?? 500,
    code: error?.code ?? "internal",
    detail: error?.message ?? "Something went wrong here. The request id helps to find out what.",
    errors: error?.details ?? [],
  });
}

export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly errors?: readonly ErrorDetail[];
}

/** `extra` goes to the top level. */
export const problemDocument = (
  { status, code, detail, errors = [] }: Problem,
  requestId: string,
  extra: object = {},
): string =>
  JSON.stringify({
    type: `urn:playlog:problem:${code}`,
    title: STATUS_CODES[status] ?? "Error",
    status,
    detail,
    code,
    requestId,
    errors,
    ...extra,
  });

/** For the few handlers that answer with an error and something beside it. */
export function answerProblem(ctx: AppContext, problem: Problem, extra?: object): void {
  ctx.status = problem.status;
  ctx.body = problemDocument(problem, ctx.state.requestId, extra);
  ctx.type = PROBLEM_TYPE;
}

/** RFC 6750: the reason is named only to a client that presented a token. */
const challenge = (ctx: AppContext): string =>
  ctx.get("Authorization") === "" ? "Bearer" : 'Bearer error="invalid_token"';

/**
 * An answer sent before the whole body has come. Closing at once would reset the connection under the client,
 * which then never sees why; so the rest is thrown away for a moment, and only then the socket is closed.
 */
function closeUnlessRead({ req, res }: AppContext): void {
  if (req.complete) return;
  res.once("finish", () => {
    const timer = setTimeout(() => req.socket.destroy(), LINGER_MS);
    req.once("close", () => clearTimeout(timer));
    req.once("end", () => clearTimeout(timer));
    req.resume();
  });
}
