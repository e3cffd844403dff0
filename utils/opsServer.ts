/** The port for operators: /metrics, and /health where a process has no other port. Never the one that clients reach. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface OpsAnswers {
  /** In the text format of Prometheus. */
  readonly metrics: () => Promise<string>;
  /** Absent: there is no /health here. `ok` false is answered with 503. */
  readonly health?: () => Promise<{ readonly ok: boolean }>;
}

export interface OpsAddress {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** The setting that names the port, for the message when it cannot be had. */
  readonly setting: string;
}

export interface OpsServer {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/** The message is all that an operator needs; there is nothing to debug. */
export class OpsPortError extends Error {
  constructor({ host, port, setting }: OpsAddress, cause: NodeJS.ErrnoException) {
    const why = cause.code === "EADDRINUSE" ? "another program listens there" : (cause.code ?? cause.message);
    super(`${setting}: ${host}:${port} cannot be used, ${why}`, { cause });
    this.name = "OpsPortError";
  }
}

/** A scrape is one small request. */
const REQUEST_TIMEOUT_MS = 10_000;
const TEXT = "text/plain; charset=utf-8";
const PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8";

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

/** Throws `OpsPortError` when the port cannot be had. */
export async function serveOps(address: OpsAddress, answers: OpsAnswers): Promise<OpsServer> {
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (req, res) => {
    void respond(answers, req, res);
  });
  await listening(server, address);
  const { port, family, address: host } = server.address() as AddressInfo; // a TCP server that listens has one
  return {
    url: `http://${family === "IPv6" ? `[${host}]` : host}:${port}`,
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function listening(server: Server, address: OpsAddress): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => reject(new OpsPortError(address, error));
    server.once("error", fail);
    server.listen(address.port, address.host, () => {
      server.off("error", fail);
      resolve();
    });
  });
}

/** Never rejects: a scrape that failed is an answer too. */
async function respond(answers: OpsAnswers, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { status, type, body } = await answerTo(answers, req).catch((): Answer => ({
    status: 500,
    type: TEXT,
    body: "This could not be measured\n",
  }));
  res.writeHead(status, {
    "Content-Type": type,
    "Content-Length": Buffer.byteLength(body),
    "Cache-Control": "no-store",
    ...(status === 405 ? { Allow: "GET, HEAD" } : {}),
  });
  res.end(req.method === "HEAD" ? undefined : body);
}

async function answerTo(answers: OpsAnswers, req: IncomingMessage): Promise<Answer> {
  const path = (req.url ?? "/").split("?")[0];
  const known = path === "/metrics" || (path === "/health" && answers.health !== undefined);
  if (!known) return { status: 404, type: TEXT, body: "Not found\n" };
  if (req.method !== "GET" && req.method !== "HEAD")
    return { status: 405, type: TEXT, body: "Method not allowed\n" };
  if (path === "/metrics" || answers.health === undefined)
    return { status: 200, type: PROMETHEUS_TEXT, body: await answers.metrics() };
  const health = await answers.health();
  const body = `${JSON.stringify(health)}\n`;
  return { status: health.ok ? 200 : 503, type: "application/json; charset=utf-8", body };
}
