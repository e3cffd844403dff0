/** How the embedded Redis and Temporal are started, and how each is known to be ready. */
import { connect } from "node:net";
import path from "node:path";

/**
 * Without persistence: nothing is kept in Redis alone, and the files of Redis and Valkey do not fit each other. What the
 * cache puts there expires; jobs of BullMQ do not, and must not be evicted.
 */
export function redisServer({ folder, port, found, logFile }) {
  return {
    name: "redis",
    ports: [port],
    program: found.program,
    args: [
      "--port",
      `${port}`,
      "--bind",
      "127.0.0.1",
      "--save",
      "",
      "--appendonly",
      "no",
      "--maxmemory",
      "256mb",
      "--maxmemory-policy",
      "volatile-lru",
      "--dir",
      folder,
    ],
    env: { ...process.env, ...found.env },
    logFile,
    endSignal: "SIGTERM",
    killSignal: "SIGKILL",
    ready: (child) => answersAs(child.pid, port),
    url: `redis://127.0.0.1:${port}/0`,
  };
}

export function temporalServer({ folder, port, uiPort, program, throwaway, logFile }) {
  const speed = throwaway ? ["--sqlite-pragma", "synchronous=off"] : [];
  const ports = ["--ip", "127.0.0.1", "--port", `${port}`, "--ui-port", `${uiPort}`];
  const file = ["--db-filename", path.join(folder, "temporal.db")];
  return {
    name: "temporal",
    ports: [port, uiPort],
    program,
    args: ["server", "start-dev", ...ports, ...file, ...speed, "--log-level", "warn"],
    env: withoutTemporalSettings(),
    logFile,
    endSignal: "SIGTERM",
    killSignal: "SIGKILL",
    // The port takes connections long before the server answers calls, so ask for a real answer.
    ready: () => answersOk(`http://127.0.0.1:${uiPort}/api/v1/namespaces/default`),
    url: `127.0.0.1:${port}`,
    uiUrl: `http://127.0.0.1:${uiPort}`,
  };
}

/** The program reads TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and the like as flags of its own. */
function withoutTemporalSettings() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("TEMPORAL_")));
}

/** The pid in the answer tells our server from somebody else's on the same port. */
function answersAs(pid, port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("INFO server\r\n"));
    let heard = "";
    const answer = (yes) => {
      socket.destroy();
      resolve(yes);
    };
    socket.setTimeout(1000, () => answer(false));
    socket.once("error", () => answer(false));
    socket.once("close", () => answer(false));
    socket.on("data", (data) => {
      heard += data.toString();
      const found = /^process_id:(\d+)\r$/m.exec(heard);
      if (found !== null) answer(Number(found[1]) === pid);
    });
  });
}

const answersOk = (url) =>
  fetch(url, { signal: AbortSignal.timeout(2000) }).then(
    async (response) => (await response.arrayBuffer(), response.ok),
    () => false,
  );
