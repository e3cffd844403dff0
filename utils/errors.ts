/**
 * Every error a caller may see. `status` and `code` are API contract, `message` is prose and may change.
 * One renderer (api/middleware/errorHandler.ts) turns them into RFC 9457 problem documents.
 */

/** One problem with one part of the input: `path` in dot notation ("" = the whole), a stable `code`, and a sentence. */
export interface ErrorDetail {
  readonly path: string;
  readonly code: string;
  readonly message: string;
}

export interface AppErrorOptions extends ErrorOptions {
  readonly details?: readonly ErrorDetail[];
}

export abstract class AppError extends Error {
  abstract readonly status: number;
  readonly code: string;
  readonly details: readonly ErrorDetail[];

  constructor(code: string, message: string, options: AppErrorOptions = {}) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.details = options.details ?? [];
  }
}

/** 400: the request cannot be understood or breaks a rule; `details` names every offending field. */
export class ValidationError extends AppError {
  readonly status = 400;
  constructor(message: string, details: readonly ErrorDetail[] = [], code = "validation") {
    super(code, message, { details });
  }
}

/** 401: no valid credentials. Rendered with `WWW-Authenticate: Bearer`. */
export class UnauthorizedError extends AppError {
  readonly status = 401;
  constructor(message = "A valid access token is required", code = "unauthorized") {
    super(code, message);
  }
}

/** 403: the caller may know that the thing exists, but not do this to it. */
export class ForbiddenError extends AppError {
  readonly status = 403;
  constructor(message: string, code = "forbidden") {
    super(code, message);
  }
}

/** 404, also for another user's rows: a stranger's id answers exactly like one that never existed. */
export class NotFoundError extends AppError {
  readonly status = 404;
  constructor(message = "There is nothing at this address", code = "not_found") {
    super(code, message);
  }
}

/** 405; `allow` lists what the address does answer to. */
export class MethodNotAllowedError extends AppError {
  readonly status = 405;
  constructor(readonly allow: readonly string[]) {
    super("method_not_allowed", `This address answers to ${allow.join(", ")}`);
  }
}

/** 408: the client took too long to send its body. */
export class RequestTimeoutError extends AppError {
  readonly status = 408;
  constructor(message = "The body did not arrive in time") {
    super("request_timeout", message);
  }
}

/** 409: taken, or in a state that does not allow this. */
export class ConflictError extends AppError {
  readonly status = 409;
  constructor(code: string, message: string, details: readonly ErrorDetail[] = []) {
    super(code, message, { details });
  }
}

/** 412: `If-Match` names a state that the resource is not in any more. */
export class PreconditionFailedError extends AppError {
  readonly status = 412;
  constructor() {
    super("precondition_failed", "This has changed since you read it; read it again");
  }
}

/** 413: the body is larger than the limit for this address. */
export class PayloadTooLargeError extends AppError {
  readonly status = 413;
  constructor(
    readonly limitBytes: number,
    what = "body",
  ) {
    super("too_large", `The ${what} is larger than ${limitBytes} bytes`);
  }
}

/** 415: a content type or encoding this address does not take. */
export class UnsupportedMediaTypeError extends AppError {
  readonly status = 415;
  constructor(message: string) {
    super("unsupported_media_type", message);
  }
}

/** 422: an Idempotency-Key used again with another request. */
export class IdempotencyMismatchError extends AppError {
  readonly status = 422;
  constructor() {
    super("idempotency_mismatch", "This Idempotency-Key was used with a different request");
  }
}

/** 429: too many requests; the caller may try again after `retryAfterSeconds`. */
export class TooManyRequestsError extends AppError {
  readonly status = 429;
  constructor(
    readonly retryAfterSeconds: number,
    message = "Too many requests",
    code = "rate_limited",
  ) {
    super(code, message);
  }
}

/** 503: something playlog stands on does not answer. Nothing was lost; try again after `retryAfterSeconds`. */
export class UnavailableError extends AppError {
  readonly status = 503;
  constructor(
    code: string,
    message: string,
    readonly retryAfterSeconds = 5,
    options: ErrorOptions = {},
  ) {
    super(code, message, options);
  }
}
