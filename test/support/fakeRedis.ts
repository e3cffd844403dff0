/** Servers that speak like Redis, or for it, in ways a real one is hard to bring to. */
import net from "node:net";
import type { AddressInfo } from "node:net";

export interface FakeServer {
  readonly url: string;
  close(): Promise<void>;
}

/** Answers every command with this error, as a server does that is loading, a replica, or wants a password. */
export const startRefusingRedis = (error: string): Promise<FakeServer> =>
  listen((near) => {
    near.on("data", (bytes: Buffer) => {
      const commands = bytes.toString("latin1").match(/^\*\d+\r$/gm)?.length ?? 0;
      near.write(`-${error}\r\n`.repeat(commands));
    });
  });

/** The real server, with each answer held back for `delayMs`. */
export const startSlowRedis = (url: string, delayMs: number): Promise<FakeServer> =>
  listen((near) => {
    const far = net.connect(Number(new URL(url).port), new URL(url).hostname);
    near.on("data", (bytes: Buffer) => far.write(bytes));
    far.on("data", (bytes: Buffer) => setTimeout(() => near.write(bytes), delayMs));
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
    far.on("error", () => {});
  });

async function listen(onConnection: (near: net.Socket) => void): Promise<FakeServer> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((near) => {
    sockets.add(near);
    near.on("error", () => {});
    near.on("close", () => sockets.delete(near));
    onConnection(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
