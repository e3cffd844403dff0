/**
 * A small HTTP client for tests: one answer shape, no hidden retries, no throwing on status. It throws when an answer is
 * not as the OpenAPI document says.
 */
import { holdToContract } from "./contract.js";

/** What a JSON body may turn out to be; tests look into it with expectations, which fail on anything else. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the one place where an answer has no type yet
export type AnswerBody = any;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed when the answer is JSON, text otherwise, null when there is none. */
  readonly body: AnswerBody;
}

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as it is; `json` is ignored then. */
  readonly raw?: NonNullable<RequestInit["body"]>;
}

/** Methods of one caller. Paths start with a slash; a body that is given is sent as JSON. */
export interface Client {
  get(path: string, options?: RequestOptions): Promise<Answer>;
  post(path: string, json?: unknown, options?: RequestOptions): Promise<Answer>;
  put(path: string, json?: unknown, options?: RequestOptions): Promise<Answer>;
  patch(path: string, json?: unknown, options?: RequestOptions): Promise<Answer>;
  delete(path: string, json?: unknown, options?: RequestOptions): Promise<Answer>;
  request(method: string, path: string, json?: unknown, options?: RequestOptions): Promise<Answer>;
}

/** @param accessToken sent with every request, unless null */
export function httpClient(baseUrl: string, accessToken: string | null): Client {
  const request: Client["request"] = async (method, path, json, options = {}) => {
    const body = options.raw ?? (json === undefined ? undefined : JSON.stringify(json));
    const headers = new Headers({
      ...(accessToken === null ? {} : { authorization: `Bearer ${accessToken}` }),
      ...(options.raw === undefined && json !== undefined ? { "content-type": "application/json" } : {}),
      ...options.headers,
    });
    const response = await fetch(`${baseUrl}${path}`, {
      method,
      headers,
      redirect: "manual",
      ...(body === undefined ? {} : { body, duplex: "half" }),
    });
    const { status, headers: answered } = response;
    const answer = { status, headers: answered, body: await readBody(response) };
    holdToContract({ method, path, status, contentType: answered.get("content-type"), body: answer.body });
    return answer;
  };
  return {
    request,
    get: (path, options) => request("GET", path, undefined, options),
    post: (path, json, options) => request("POST", path, json, options),
    put: (path, json, options) => request("PUT", path, json, options),
    patch: (path, json, options) => request("PATCH", path, json, options),
    delete: (path, json, options) => request("DELETE", path, json, options),
  };
}

async function readBody(response: Response): Promise<AnswerBody> {
  const text = await response.text();
  if (text === "") return null;
  return /[/+]json\b/.test(response.headers.get("content-type") ?? "") ? JSON.parse(text) : text;
}
