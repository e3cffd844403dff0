/**
 * A program that keeps a server busy: so many connections, each of which sends its next request as soon as its last answer
 * is there. It reads no more of an answer than it must, because it has to be quicker than every server it is pointed at.
 */
import { connect } from "node:net";
import { percentile } from "../statistics.js";

export interface LoadOrder {
  readonly port: number;
  readonly connections: number;
  readonly ms: number;
  /** Whole requests; sent in turns. */
  readonly requests: readonly string[];
}

export interface LoadReport {
  readonly answers: number;
  readonly seconds: number;
  /** Status → how many. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly p50: number;
  readonly p99: number;
}

const HEAD_END = "\r\n\r\n";

async function run({ port, connections, ms, requests }: LoadOrder): Promise<LoadReport> {
  const bytes = requests.map((request) => Buffer.from(request));
  const times: number[] = [];
  const statuses: Record<string, number> = {};
  const begun = performance.now();
  const end = begun + ms;
  let next = 0;

  const client = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true });
      let sentAt = 0;
      let head: Buffer = Buffer.alloc(0);
      let missing = 0;
      const send = (): void => {
        sentAt = performance.now();
        if (sentAt >= end) {
          socket.destroy();
          resolve();
          return;
        }
        socket.write(bytes[next++ % bytes.length]!);
      };
      socket.once("connect", send);
      socket.once("error", reject);
      socket.on("data", (chunk: Buffer) => {
        if (missing > 0) missing -= chunk.length;
        else {
          head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
          const border = head.indexOf(HEAD_END);
          if (border < 0) return;
          const text = head.toString("latin1", 0, border);
          const status = text.slice(9, 12);
          statuses[status] = (statuses[status] ?? 0) + 1;
          const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? 0);
          missing = length - (head.length - border - HEAD_END.length);
          head = Buffer.alloc(0);
        }
        if (missing > 0) return;
        times.push(performance.now() - sentAt);
        send();
      });
    });

  await Promise.all(Array.from({ length: connections }, client));
  return {
    answers: times.length,
    seconds: (performance.now() - begun) / 1000,
    statuses,
    p50: percentile(times, 0.5),
    p99: percentile(times, 0.99),
  };
}

process.on("message", (order: LoadOrder) => {
  run(order).then(
    (report) => process.send?.({ report }),
    (error: unknown) => process.send?.({ error: String(error) }),
  );
});
process.on("disconnect", () => process.exit());
process.send?.("ready");
