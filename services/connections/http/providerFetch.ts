/**
 * The one way to a provider. It follows no redirect, connects to public addresses only (and to the servers that the
 * operator named), and bounds the time and the size of every answer. What it throws names the host, never the rest of
 * an address, a header or a body: any of them can hold a secret.
 */
import { request as requestPlain, type IncomingMessage } from "node:http";
import { request as requestTls } from "node:https";
import { isIP } from "node:net";
import { PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ProviderError, RateLimitedError } from "../errors.js";
import { isPublicAddress, publicLookup, RefusedAddressError } from "./addresses.js";
import { waitUntil } from "./retryAfter.js";

export interface ProviderFetchOptions {
  /** For a whole answer, from the look-up of the name to the last byte. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
  /**
   * Origins that the operator set in place of a provider's own, as `URL.origin` writes them. They alone may be private, or
   * without TLS.
   */
  readonly allowedOrigins: readonly string[];
}

export interface ProviderRequest {
  readonly method?: "GET" | "POST";
  readonly url: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text is sent as it is; parameters as a form. */
  readonly body?: string | URLSearchParams;
  /** Aborted: the promise is rejected with its reason. */
  readonly signal?: AbortSignal;
  /** Instead of the usual bound. */
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
  /** Hands a 429 through like any other status. */
  readonly handles429?: boolean;
}

export interface ProviderResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
  /** Throws ProviderError when the body is no JSON. */
  readonly json: () => unknown;
}

/** Throws RateLimitedError for a 429, else ProviderError. */
export type ProviderFetch = (request: ProviderRequest) => Promise<ProviderResponse>;

/** The body of an answer that is too large for memory, under the same bounds. Its errors are those of `ProviderFetch`. */
export type ProviderDownload = (request: ProviderRequest) => Readable;

const USER_AGENT = "playlog/0.1 (self-hosted listening history)";
const TOO_MANY_REQUESTS = 429;

export function createProviderFetch(options: ProviderFetchOptions): ProviderFetch {
  return (request) =>
    exchange(options, request, async ({ answer, host, chunks }) => {
      const parts: Buffer[] = [];
      for await (const chunk of chunks) parts.push(chunk);
      const body = Buffer.concat(parts);
      return {
        status: answer.statusCode ?? 0,
        headers: headersOf(answer),
        body,
        json: () => parse(body, host),
      };
    });
}

export function createProviderDownload(options: ProviderFetchOptions): ProviderDownload {
  return (request) => {
    const out = new PassThrough();
    exchange(options, request, async ({ answer, host, chunks }) => {
      const status = answer.statusCode ?? 0;
      if (status !== 200) throw new ProviderError(`${host} answered with status ${status}`, status >= 500);
      await pipeline(chunks, out);
    }).catch((error: unknown) => out.destroy(error as Error));
    return out;
  };
}

interface Answered {
  readonly answer: IncomingMessage;
  readonly host: string;
  readonly chunks: AsyncIterable<Buffer>;
}

async function exchange<T>(
  options: ProviderFetchOptions,
  request: ProviderRequest,
  use: (answered: Answered) => Promise<T>,
): Promise<T> {
  const url = new URL(request.url);
  const { host } = url;
  const trusted = options.allowedOrigins.includes(url.origin);
  if (!trusted) assertPublic(url);

  const deadline = AbortSignal.timeout(request.timeoutMs ?? options.timeoutMs);
  const signal = request.signal === undefined ? deadline : AbortSignal.any([deadline, request.signal]);
  let answer: IncomingMessage | undefined;
  try {
    answer = await send(url, request, { trusted, signal });
    const status = answer.statusCode ?? 0;
    if (status === TOO_MANY_REQUESTS && request.handles429 !== true) {
      throw new RateLimitedError(waitUntil(answer.headers, Date.now()));
    }
    if (status >= 300 && status < 400) {
      throw new ProviderError(`${host} answered with a redirect, which is not followed`, false);
    }
    const chunks = bounded(answer, request.maxBytes ?? options.maxBytes, host);
    return await use({ answer, host, chunks });
  } catch (cause) {
    if (request.signal?.aborted === true) throw request.signal.reason;
    if (deadline.aborted) throw new ProviderError(`${host} did not answer in time`, true, { cause });
    throw isTransport(cause) ? transportError(host, cause) : cause;
  } finally {
    answer?.destroy();
  }
}

/** Before a literal address is connected to; a name is looked at when it is resolved. */
function assertPublic(url: URL): void {
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  const isPrivate = isIP(hostname) !== 0 && !isPublicAddress(hostname);
  if (url.protocol !== "https:" || url.username !== "" || url.password !== "" || isPrivate) {
    throw new ProviderError(
      `An address at ${url.host} is not one of a provider on the public internet`,
      false,
    );
  }
}

function send(
  url: URL,
  { method, headers, body }: ProviderRequest,
  { trusted, signal }: { readonly trusted: boolean; readonly signal: AbortSignal },
): Promise<IncomingMessage> {
  const form = body instanceof URLSearchParams ? { "content-type": "application/x-www-form-urlencoded" } : {};
  const bytes = body === undefined ? undefined : Buffer.from(body.toString());
  const length = bytes === undefined ? {} : { "content-length": bytes.length };
  return new Promise((resolve, reject) => {
    const open = url.protocol === "https:" ? requestTls : requestPlain;
    const outgoing = open(url, {
      method: method ?? "GET",
      headers: { accept: "application/json", "user-agent": USER_AGENT, ...form, ...headers, ...length },
      agent: false,
      signal,
      ...(trusted ? {} : { lookup: publicLookup }),
    });
    outgoing.on("response", resolve);
    outgoing.on("error", reject);
    outgoing.end(bytes);
  });
}

async function* bounded(answer: IncomingMessage, maxBytes: number, host: string): AsyncIterable<Buffer> {
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new ProviderError(`${host} answered with more than ${maxBytes} bytes`, false);
    yield chunk;
  }
}

function headersOf({ rawHeaders }: IncomingMessage): Headers {
  const headers = new Headers();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) headers.append(rawHeaders[at]!, rawHeaders[at + 1]!);
  return headers;
}

function parse(body: Buffer, host: string): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    throw new ProviderError(`${host} answered with something that is no JSON`, true);
  }
}

/** Of the connection: all of them have a code, what `use` throws of its own has its own class. */
function isTransport(cause: unknown): cause is Error {
  if (cause instanceof RefusedAddressError) return true;
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return typeof code === "string" && TRANSPORT_CODE.test(code);
}

const TRANSPORT_CODE =
  /^(?:E(?:CONN|HOST|NET|PIPE|AI_|NOTFOUND|TIMEDOUT|PROTO|ADDR)|ERR_(?:TLS|SSL|STREAM)|HPE_|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_)/;

function transportError(host: string, cause: Error): ProviderError {
  if (cause instanceof RefusedAddressError) {
    return new ProviderError(`${host} stands for an address that is not public`, false, { cause });
  }
  return new ProviderError(`${host} could not be reached, or broke off`, true, { cause });
}
