/** A TCP proxy before a real server, for making it silent, slow to come back or gone, as a network would. */
import net from "node:net";
import type { AddressInfo } from "node:net";

export interface TcpProxy {
  /** `url` with host and port of the proxy. */
  through(url: string): string;
  /** `host:port` of the proxy. */
  readonly address: string;
  /** Connections stay open, bytes get lost in both directions; new connections are accepted and never answered. */
  freeze(): void;
  /** As `freeze`, but the server sees its ends of the connections close, and waits for nobody any more. */
  strand(): void;
  /** What the server says gets lost; what it is told arrives. */
  muffle(): void;
  /** New connections work again; frozen and muffled ones stay so. */
  thaw(): void;
  /** Ends every connection. */
  cut(): void;
  /** Ends every connection and refuses new ones, like a server that is not running. */
  refuse(): Promise<void>;
  /** Takes connections again, on the same port. */
  accept(): Promise<void>;
  close(): Promise<void>;
}

/** One connection through the proxy, as a listener to what clients say may touch it. */
export interface ProxiedConnection {
  /**
   * The server gets what was said, and the connection ends before its answer reaches the client. Resolves with
   * the answer that was lost, up to where it was cut.
   */
  loseAnswer(): Promise<Buffer>;
}

export interface TcpProxyOptions {
  /** Sees what a client says before the server does. */
  readonly onClientBytes?: (bytes: Buffer, connection: ProxiedConnection) => void;
}

export async function startTcpProxy(targetUrl: string, options: TcpProxyOptions = {}): Promise<TcpProxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<net.Socket>();
  const serverSides = new Set<net.Socket>();
  let frozen = false;
  let muffled = false;
  let server = createServer();

  function createServer(): net.Server {
    return net.createServer((near) => {
      const far = net.connect(Number(target.port), target.hostname);
      serverSides.add(far);
      far.once("close", () => serverSides.delete(far));
      let lost = false;
      let deaf = false;
      let answerTo: ((lost: Buffer) => void) | undefined;
      const connection: ProxiedConnection = {
        loseAnswer: () => new Promise((resolve) => (answerTo = resolve)),
      };
      near.on("data", (bytes: Buffer) => {
        lost ||= frozen;
        options.onClientBytes?.(bytes, connection);
        if (!lost) far.write(bytes);
      });
      far.on("data", (bytes: Buffer) => {
        lost ||= frozen;
        deaf ||= muffled;
        if (answerTo !== undefined) {
          answerTo(bytes);
          near.destroy();
        } else if (!lost && !deaf) near.write(bytes);
      });
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(from);
        from.on("error", () => {});
        from.on("close", () => {
          sockets.delete(from);
          if (from === near || !frozen) to.destroy();
        });
      }
    });
  }
  const listen = (port: number): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  const refuse = (): Promise<void> => {
    cut();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  return {
    address: `127.0.0.1:${port}`,
    through: (url) => {
      const changed = new URL(url);
      changed.hostname = "127.0.0.1";
      changed.port = String(port);
      return changed.href;
    },
    freeze: () => void (frozen = true),
    strand: () => {
      frozen = true;
      for (const socket of serverSides) socket.destroy();
    },
    muffle: () => void (muffled = true),
    thaw: () => void (frozen = muffled = false),
    cut,
    refuse,
    accept: () => {
      server = createServer();
      return listen(port);
    },
    close: refuse,
  };
}
