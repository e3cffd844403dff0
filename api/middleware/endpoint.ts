/**
 * One declaration per endpoint: it validates, types the handler's input, registers the route and becomes the
 * OpenAPI document. `mount` does things in this order: caller, path, own middleware, query, body, handler.
 */
import Joi from "joi";
import type { Next } from "koa";
import type { TokenScope, UserRole } from "../../db/models/enums.js";
import type { Scope } from "../../db/queries/cacheVersions.js";
import { BoundedMap } from "../../services/limits/BoundedMap.js";
import { NotFoundError, UnauthorizedError } from "../../utils/errors.js";
import { assertRole, assertScope } from "../policies/callers.js";
import type { AppContext, AppMiddleware, AppRouter, Caller } from "../types.js";
import { jsonBody, refuseBody } from "./body.js";
import { answerCached } from "./cache.js";
import type { RateClass } from "./rateLimit.js";
import { validate } from "./validation.js";

export type Method = "get" | "post" | "put" | "patch" | "delete";
export type Access = "user" | "none";

/** One answer of an endpoint. Problem answers are added by the document itself. */
export interface ResponseDoc {
  readonly description: string;
  /** Absent: no body. */
  readonly schema?: Joi.Schema;
  readonly contentType?: string;
  /** Other content types that `Accept` can ask for, each with an example. */
  readonly also?: Readonly<Record<string, string>>;
  /** For bodies that their schema does not explain. */
  readonly example?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A body the handler reads from `ctx.req` itself; `contentTypes` maps each type to its JSON Schema in the document. */
export interface StreamBody {
  readonly stream: true;
  readonly contentTypes: Readonly<Record<string, object>>;
}

/** For `body` of a declaration: nothing parses it, nothing is buffered, any content type gets through. */
export const streamBody = (contentTypes: Readonly<Record<string, object>>): StreamBody => ({
  stream: true,
  contentTypes,
});

export interface EndpointOptions<P, Q, B, A extends Access> {
  readonly method: Method;
  /** Whole path with `:name` parameters, e.g. `/api/v1/users/:id`. */
  readonly path: string;
  /** Unique camelCase name, for generated clients. */
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  /** `user`: a valid access token is needed, and `caller` is set. */
  readonly auth: A;
  /** The least role that may use it; everybody who is logged in when absent. */
  readonly role?: UserRole;
  /**
   * What a personal API token needs to use it: `read` for GET and `write` for the rest by default. `session`: no token will
   * do, because it could give itself more than it was given.
   */
  readonly scope?: TokenScope | "session";
  /** Which limit its requests count against: `reads` for GET and `writes` for the rest by default. */
  readonly rateClass?: RateClass | "unlimited";
  /** The account about which its refusals could tell a guesser something (is this the password?): they are limited by account, too. */
  guesses?(input: Input<P, Q, B, A>): string;
  /** `If-Match` is looked at: the handler calls `assertMatch`. */
  readonly conditional?: boolean;
  /** A value that does not fit is 404, without a query. */
  readonly params?: Joi.ObjectSchema<P>;
  /** Without it, any query parameter is refused. */
  readonly query?: Joi.ObjectSchema<Q>;
  readonly body?: Joi.ObjectSchema<B> | StreamBody;
  /** Limit of a JSON body; 256 KiB by default. */
  readonly bodyMaxBytes?: number;
  readonly responses: Readonly<Record<number, ResponseDoc>>;
  /**
   * What the answer to a GET depends on, beside the reader and the input: its key in the cache. Null for an input
   * whose answer is not worth keeping. Only for `auth: "user"`, and only JSON.
   */
  cache?(input: Input<P, Q, B, A>): readonly Scope[] | null;
  /** Its success changes what cached answers show (see announceChange), and the caller must see it in the next one. */
  readonly changes?: boolean;
  /** Statuses of errors beyond those every endpoint of its kind can answer, each with the reason. */
  readonly errors?: Readonly<Record<number, string>>;
}

export interface Endpoint<
  P = unknown,
  Q = unknown,
  B = unknown,
  A extends Access = Access,
> extends EndpointOptions<P, Q, B, A> {
  readonly kind: "endpoint";
}

/** What a handler gets: facts, already checked. */
export interface Input<P, Q, B, A extends Access> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly caller: A extends "user" ? Caller : undefined;
}

export type Handler<P, Q, B, A extends Access> = (
  ctx: AppContext,
  input: Input<P, Q, B, A>,
) => Promise<void> | void;

export type NoInput = Readonly<Record<string, never>>;

export function endpoint<P = NoInput, Q = NoInput, B = undefined, A extends Access = Access>(
  options: EndpointOptions<P, Q, B, A>,
): Endpoint<P, Q, B, A> {
  return { kind: "endpoint", ...options };
}

const isEndpoint = (value: unknown): value is Endpoint =>
  typeof value === "object" && value !== null && "kind" in value && value.kind === "endpoint";

/** The declarations, and lists of them, among the exports of a resource's `schema.ts`. */
export const endpointsOf = (exports: Readonly<Record<string, unknown>>): readonly Endpoint[] =>
  Object.values(exports).flat().filter(isEndpoint);

/** What a personal API token needs for this endpoint. */
export const scopeOf = ({
  method,
  scope,
}: Pick<EndpointOptions<never, never, never, Access>, "method" | "scope">) =>
  scope ?? (method === "get" ? "read" : "write");

export const rateClassOf = ({
  method,
  rateClass,
}: Pick<EndpointOptions<never, never, never, Access>, "method" | "rateClass">) =>
  rateClass ?? (method === "get" ? "reads" : "writes");

const noQuery = Joi.object({});
const NO_PARAMS = Object.freeze({});

export interface Mounted {
  readonly endpoint: Endpoint;
  /** Answers a request for it; absent where other middleware stands in between, or the path has parameters. */
  readonly answer?: (ctx: AppContext) => Promise<void>;
}

const mounted = new WeakMap<AppRouter, readonly Mounted[]>();

/** What `mount` has put on this router. */
export const mountedOn = (router: AppRouter): readonly Mounted[] => mounted.get(router) ?? [];

const isStream = (body: object): body is StreamBody => "stream" in body;

/** Gives the body as validated; null for endpoints without one, and for those that stream it themselves. */
function bodyReader<P, Q, B, A extends Access>({ method, body, bodyMaxBytes }: EndpointOptions<P, Q, B, A>) {
  if (body === undefined) return method === "get" ? null : refuseBody;
  if (isStream(body)) return null;
  const read = jsonBody(bodyMaxBytes);
  return async (ctx: AppContext): Promise<B> => validate(body, await read(ctx), "request body");
}

/** Query strings of which an endpoint remembers what they mean: a client asks the same over and over. */
const MAX_QUERIES = 100;
const MAX_QUERY_LENGTH = 300;

function queryReader<Q>(schema: Joi.ObjectSchema<Q>): (ctx: AppContext) => Q {
  const known = new BoundedMap<string, Q>(MAX_QUERIES);
  return (ctx) => {
    const text = ctx.querystring;
    const found = known.get(text);
    if (found !== undefined) return found;
    const checked = Object.freeze(validate(schema, ctx.query, "query string"));
    if (text.length <= MAX_QUERY_LENGTH) known.set(text, checked);
    return checked;
  };
}

/**
 * Registers `declaration` on `router`. The last argument handles the request; middleware before it (a limiter,
 * say) runs once the caller is known and before anything of the body is read.
 */
export function mount<P, Q, B, A extends Access>(
  router: AppRouter,
  declaration: Endpoint<P, Q, B, A>,
  ...rest: readonly [...AppMiddleware[], Handler<P, Q, B, A>]
): void {
  // The tuple type says that the last element, and only it, is the handler; at() and slice() lose that.
  const handler = rest.at(-1) as Handler<P, Q, B, A>;
  const middleware = rest.slice(0, -1) as AppMiddleware[];
  const { method, path, auth, params, query = noQuery, changes = false, role = "user" } = declaration;
  const readBody = bodyReader(declaration);
  const readQuery = queryReader(query);
  const rateClass = rateClassOf(declaration);
  const scope = scopeOf(declaration);
  if (declaration.cache !== undefined && (method !== "get" || auth !== "user")) {
    throw new Error(`${method} ${path} cannot be cached: there is no reader to keep it for`);
  }

  const enter = async (ctx: AppContext & { readonly params?: unknown }): Promise<void> => {
    const { state, res } = ctx;
    state.route = path;
    if (auth === "user")
      state.caller = state.authentication.known(ctx) ?? (await authenticated(ctx, rateClass));
    await admit(ctx, rateClass);
    const { caller } = state;
    if (caller !== undefined) {
      res.setHeader("Cache-Control", "no-store");
      assertScope(caller, scope);
      assertRole(caller, role);
    }
    state.params = params === undefined ? NO_PARAMS : checkPath(params, ctx.params);
  };
  const answer = async (ctx: AppContext, input: Input<P, Q, B, A>): Promise<void> => {
    const scopes = declaration.cache?.(input) ?? null;
    if (scopes === null || input.caller === undefined) {
      await handler(ctx, input);
      if (changes) await ctx.state.pages.seen();
      return;
    }
    const { caller, params: checked, query: asked } = input;
    const request = { userId: caller.userId, route: path, params: checked, query: asked, scopes };
    await answerCached(ctx, request, () => handler(ctx, input));
  };
  const run = async (ctx: AppContext): Promise<void> => {
    // Each part comes from the schema whose type parameter it has here; `caller` is set exactly for "user".
    const input: Record<keyof Input<P, Q, B, A>, unknown> = {
      params: ctx.state.params,
      query: readQuery(ctx),
      body: readBody === null ? undefined : await readBody(ctx),
      caller: ctx.state.caller,
    };
    const checked = input as Input<P, Q, B, A>;
    const guessed = declaration.guesses?.(checked);
    const { limits } = ctx.state;
    if (guessed === undefined || limits === undefined) await answer(ctx, checked);
    else await limits.guess(ctx, guessed, () => answer(ctx, checked));
  };
  const both = async (ctx: AppContext): Promise<void> => {
    await enter(ctx);
    await run(ctx);
  };
  const enterFirst = async (ctx: AppContext, next: Next): Promise<void> => {
    await enter(ctx);
    await next();
  };
  const alone = middleware.length === 0;
  // Exact: by default the router takes other cases and a slash at the end for the same address.
  router.register(path, [method], alone ? [both] : [enterFirst, ...middleware, run], {
    sensitive: true,
    strict: true,
  });
  const entry = { endpoint: declaration, ...(alone && !path.includes(":") ? { answer: both } : {}) };
  mounted.set(router, [...mountedOn(router), entry]);
}

/** Undefined, when nobody has to be waited for. */
function admit(ctx: AppContext, rateClass: RateClass | "unlimited"): Promise<void> | undefined {
  const { limits } = ctx.state;
  if (rateClass === "unlimited" || limits === undefined || limits.admitKnown(ctx, rateClass))
    return undefined;
  return limits.admit(ctx, rateClass);
}

/** A request whose token does not work counts as well: against the address it came from. */
async function authenticated(ctx: AppContext, rateClass: RateClass | "unlimited"): Promise<Caller> {
  try {
    return await ctx.state.authentication.authenticate(ctx);
  } catch (error) {
    if (error instanceof UnauthorizedError) await admit(ctx, rateClass);
    throw error;
  }
}

/** A path that cannot name anything is an address that does not exist. */
function checkPath<P>(schema: Joi.ObjectSchema<P>, values: unknown): P {
  const result = schema.validate(values, { convert: false });
  if (result.error !== undefined) throw new NotFoundError();
  return result.value;
}
