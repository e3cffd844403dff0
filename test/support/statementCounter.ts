/** Counts the SQL statements that clients send to a PostgreSQL server, by reading what goes over the wire. */
import net from "node:net";
import type { AddressInfo } from "node:net";

export interface StatementCounter {
  /** `databaseUrl` with host and port of the counter. */
  readonly url: string;
  /** Text of a statement → how often it was executed since the last `reset`. */
  readonly counts: ReadonlyMap<string, number>;
  /** Executions since the last `reset`; beats of the listening connection left out. */
  total(): number;
  reset(): void;
  close(): Promise<void>;
}

/** Each process that listens for changes sends one a second, whatever it is asked. */
const isBeat = (statement: string): boolean => statement === "select pg_notify($1, $2)";

export async function startStatementCounter(databaseUrl: string): Promise<StatementCounter> {
  const target = new URL(databaseUrl);
  const sockets = new Set<net.Socket>();
  const counts = new Map<string, number>();
  const server = net.createServer((near) => {
    const far = net.connect(Number(target.port), target.hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
    }
    const reader = new FrontendReader((text) => counts.set(text, (counts.get(text) ?? 0) + 1));
    near.on("data", (bytes: Buffer) => {
      reader.read(bytes);
      far.write(bytes);
    });
    far.on("data", (bytes: Buffer) => near.write(bytes));
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
    for (const socket of [near, far]) socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = new URL(databaseUrl);
  url.hostname = "127.0.0.1";
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    counts,
    total: () => [...counts].reduce((sum, [text, n]) => sum + (isBeat(text) ? 0 : n), 0),
    reset: () => counts.clear(),
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Cuts what a client of PostgreSQL says into messages, and tells of each statement that is executed. */
class FrontendReader {
  #pending: Buffer = Buffer.alloc(0);
  #started = false;
  /** Name of a prepared statement → its text; the unnamed one is "". */
  readonly #prepared = new Map<string, string>();
  #bound = "";

  constructor(private readonly executed: (text: string) => void) {}

  read(bytes: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, bytes]);
    for (;;) {
      const head = this.#started ? 1 : 0; // the first message has no type
      if (this.#pending.length < head + 4) return;
      const end = head + this.#pending.readInt32BE(head);
      if (this.#pending.length < end) return;
      if (this.#started)
        this.#message(String.fromCharCode(this.#pending[0]!), this.#pending.subarray(5, end));
      this.#started = true;
      this.#pending = this.#pending.subarray(end);
    }
  }

  #message(type: string, body: Buffer): void {
    const [first = "", second = ""] = body.toString("utf8").split("\0", 2);
    if (type === "Q") this.executed(first);
    else if (type === "P") this.#prepared.set(first, second);
    else if (type === "B") this.#bound = this.#prepared.get(second) ?? "";
    else if (type === "E") this.executed(this.#bound);
  }
}
