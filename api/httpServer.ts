/** The HTTP server around the app: time limits, answers to what is no HTTP, and an end without broken requests. */
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { App } from "./app.js";
import { PROBLEM_TYPE, problemDocument } from "./middleware/errorHandler.js";

/** For the request line and the headers. Bodies have limits of their own: an upload may take hours. */
const HEADERS_TIMEOUT_MS = 15_000;
/** Longer than the idle time of common proxies, so that the proxy closes first. */
const KEEP_ALIVE_MS = 65_000;
const MAX_HEADER_BYTES = 16 * 1024;

export interface HttpServer {
  readonly url: string;
  readonly port: number;
  /**
   * Takes no new connections, tells the open ones to close after their answer and the endless answers to end, and
   * resolves when the last request is answered; whatever still runs after `graceMs` is cut off. True when nothing
   * was.
   */
  close(graceMs: number): Promise<boolean>;
}

interface Connection {
  /** Not out yet. */
  readonly answers: Set<ServerResponse>;
  /** Of its server. */
  readonly closing: AbortSignal;
}

const connections = new WeakMap<Socket, Connection>();
const neverClosing = new AbortController().signal;

/** Aborts when the server of this answer begins to close: for answers that would not end by themselves. */
export const closingSignal = ({ req }: ServerResponse): AbortSignal =>
  connections.get(req.socket)?.closing ?? neverClosing;

/** @param port 0 for any free one */
export async function serve(app: App, host: string, port: number): Promise<HttpServer> {
  const handle = app.callback();
  const open = new Set<Connection>();
  const closing = new AbortController();
  setMaxListeners(0, closing.signal); // one for each endless answer

  const onRequest = (req: IncomingMessage, res: ServerResponse): void => {
    const answers = connections.get(req.socket)?.answers;
    answers?.add(res);
    res.on("close", () => {
      answers?.delete(res);
      // Its head promised to keep the connection; one without a request would be waited for.
      if (closing.signal.aborted) setImmediate(() => server.closeIdleConnections());
    });
    if (closing.signal.aborted) res.setHeader("Connection", "close");
    void handle(req, res); // koa handles its own errors; the promise never rejects
  };
  const server = createServer(
    { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: 0 },
    onRequest,
  );
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on("clientError", answerClientError);
  server.on("connection", (socket: Socket) => {
    const connection: Connection = { answers: new Set(), closing: closing.signal };
    connections.set(socket, connection);
    open.add(connection);
    socket.once("close", () => {
      open.delete(connection);
      closeWaiting(connection.answers);
    });
  });
  await listening(server, host, port);
  const address = server.address() as AddressInfo; // a TCP server that listens has one
  const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;

  return {
    url: `http://${shown}:${address.port}`,
    port: address.port,
    close: async (graceMs) => {
      closing.abort();
      for (const { answers } of open)
        for (const res of answers) if (!res.headersSent) res.setHeader("Connection", "close");
      let cut = false;
      const timer = setTimeout(() => {
        cut = [...open].some(({ answers }) => answers.size > 0);
        server.closeAllConnections();
      }, graceMs);
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
      });
      clearTimeout(timer);
      return !cut;
    },
  };
}

/** Node does not tell an answer that waits behind another on its connection that this is gone. */
function closeWaiting(answers: ReadonlySet<ServerResponse>): void {
  for (const res of [...answers]) if (res.socket === null) res.destroy().emit("close");
}

async function listening(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** What the parser refused never becomes a request, so it is answered here, in the same form as all errors. */
function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  const [status, code] = clientErrors[error.code ?? ""] ?? ([400, "bad_request"] as const);
  const requestId = randomUUID();
  const detail = "This is not a request that this server can read";
  const body = problemDocument({ status, code, detail }, requestId);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Error"}\r\nConnection: close\r\nContent-Type: ${PROBLEM_TYPE}\r\n` +
      `X-Request-Id: ${requestId}\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

const clientErrors: Readonly<Record<string, readonly [status: number, code: string]>> = {
  HPE_HEADER_OVERFLOW: [431, "headers_too_large"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "request_timeout"],
};
