/** Requests written byte by byte, for bodies that no HTTP client would send. */
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** An open connection; what is written to it goes out as it is. */
export class RawRequest {
  readonly #socket: net.Socket;
  #received = "";
  readonly closed: Promise<void>;

  constructor(port: number) {
    this.#socket = net.connect(port, "127.0.0.1");
    this.#socket.on("data", (chunk: Buffer) => (this.#received += chunk.toString("latin1")));
    this.#socket.on("error", () => {}); // a server may close while we still write
    this.closed = new Promise((resolve) => this.#socket.once("close", () => resolve()));
  }

  /** Resolves when the bytes are handed to the system, or the connection is gone. */
  async write(bytes: Buffer | string): Promise<void> {
    if (this.#socket.destroyed) return;
    await Promise.race([
      new Promise<void>((resolve) => this.#socket.write(bytes, () => resolve())),
      this.closed,
    ]);
  }

  head(method: string, path: string, headers: Readonly<Record<string, string | number>>): Promise<void> {
    const lines = Object.entries({ Host: "localhost", ...headers }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    return this.write(`${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
  }

  /** One chunk of a chunked body; an empty one ends it. */
  chunk(bytes: Buffer): Promise<void> {
    const size = Buffer.from(`${bytes.length.toString(16)}\r\n`);
    return this.write(Buffer.concat([size, bytes, Buffer.from("\r\n")]));
  }

  /** Ends our side only. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  get answered(): boolean {
    return this.#received.includes("\r\n\r\n");
  }

  /** The answer with its whole body, or what had come of it when the server closed the connection. */
  async answer(): Promise<RawAnswer> {
    let over = false;
    void this.closed.then(() => (over = true));
    while (!over && !this.#isComplete()) await sleep(5);
    const [head, body] = this.#parts();
    return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0), head, body };
  }

  #parts(): readonly [head: string, body: string] {
    const border = this.#received.indexOf("\r\n\r\n");
    return border < 0
      ? [this.#received, ""]
      : [this.#received.slice(0, border), this.#received.slice(border + 4)];
  }

  #isComplete(): boolean {
    const [head, body] = this.#parts();
    const length = /^content-length: (\d+)$/im.exec(head)?.[1];
    return length !== undefined && body.length >= Number(length);
  }
}
