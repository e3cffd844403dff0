/** One request to the stand-in, and the ways to answer it: as documented, and as no client would like it. */
import type { IncomingMessage, ServerResponse } from "node:http";

export interface Exchange {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly response: ServerResponse;
}

/** Answers, or leaves it to the next one by returning false. */
export type Handler = (exchange: Exchange) => boolean;
export type Answer = (response: ServerResponse) => void;

export function json(status: number, body: unknown, headers: Record<string, string> = {}): Answer {
  return (response) =>
    void response
      .writeHead(status, { "content-type": "application/json", ...headers })
      .end(JSON.stringify(body));
}

export const tooMany = (retryAfter?: string): Answer =>
  json(429, { error: "slow down" }, retryAfter === undefined ? {} : { "retry-after": retryAfter });

export const broken = (status = 500): Answer => json(status, { error: { status, message: "Server error" } });

export const html = (): Answer => (response) =>
  void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><p>Be right back");

export const redirect =
  (location: string): Answer =>
  (response) =>
    void response.writeHead(302, { location }).end();

/** Ends in the middle of an answer. */
export const half = (): Answer => (response) => {
  response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
  response.write('{"items":[{"track":', () => response.destroy());
};

/** Takes the request and says nothing. */
export const silent = (): Answer => () => {};

/** A list with so many things in it, under the name that the provider gives its lists. */
export const many =
  (count: number, open: string, item: string, close: string): Answer =>
  (response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(`${open}${`${item},`.repeat(count - 1)}${item}${close}`);
  };

export const bearer = ({ headers }: Exchange): string =>
  /^\S+ (.+)$/.exec(headers.authorization ?? "")?.[1] ?? "";
