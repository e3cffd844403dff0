/**
 * One playlog on a machine picks its ports and starts its servers at a time. Otherwise two could find the same
 * port free, and one of them would then speak with the other's servers.
 */
import { connect, createServer } from "node:net";
import { sleep } from "./system.mjs";

const TURN_PORT = 15_431;
const GREETING = "playlog is starting";
const PATIENCE_MS = 60_000;

/**
 * Waits for this machine's turn and returns the function that passes it on; so does the death of this process.
 * When some other program sits on the port, or a turn takes too long, goes ahead without one.
 */
export async function takeTurn(port = TURN_PORT, patienceMs = PATIENCE_MS) {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const server = await listen(port);
    if (server !== undefined) return () => server.close();
    if (Date.now() > deadline || (await heldByOther(port))) return () => undefined;
    await sleep(50);
  }
}

function listen(port) {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.on("error", () => undefined).end(GREETING));
    server.once("error", () => resolve(undefined));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => resolve(server));
  });
}

/** Whether the port is taken by something that is no playlog; false as well when it has just become free. */
function heldByOther(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    let heard = "";
    const answer = (other) => {
      socket.destroy();
      resolve(other);
    };
    socket.setTimeout(1000, () => answer(true));
    socket.once("error", () => answer(false));
    socket.on("data", (data) => (heard += data.toString()));
    socket.once("end", () => answer(!heard.startsWith(GREETING)));
  });
}
