/** A TCP proxy before a real server, for making it silent, slow to come back or gone, as a network would. */
import net from "node:net";
import type { AddressInfo } from "node:net";

export interface TcpProxy {
  /** `url` with host and port of the proxy. */
  through(url: string): string;
  /** Connections stay open, bytes get lost in both directions; new connections are accepted and never answered. */
  freeze(): void;
  /** New connections work again; frozen ones stay frozen. */
  thaw(): void;
  /** Ends every connection. */
  cut(): void;
  close(): Promise<void>;
}

export async function startTcpProxy(targetUrl: string): Promise<TcpProxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<net.Socket>();
  let frozen = false;
  const server = net.createServer((near) => {
    const far = net.connect(Number(target.port), target.hostname);
    let lost = false;
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("data", (bytes) => {
        lost ||= frozen;
        if (!lost) to.write(bytes);
      });
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    through: (url) => {
      const changed = new URL(url);
      changed.hostname = "127.0.0.1";
      changed.port = String(port);
      return changed.href;
    },
    freeze: () => void (frozen = true),
    thaw: () => void (frozen = false),
    cut,
    close: () => {
      cut();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
