/** One embedded server that is kept running: started, waited for, started again on the same port. */
import { canListen, sleep, spawnServer, startedAt, tail } from "./system.mjs";

const START_TIMEOUT_MS = 60_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;
/** A server that lived this long starts its next series of restarts with the shortest delay again. */
const STEADY_MS = 30_000;

export class WatchedServer {
  #spec;
  #note;
  #onProcess;
  #child;
  #start;
  #stopping = false;
  #delayMs = FIRST_DELAY_MS;

  /** `onProcess` is told about each new process, so that its pid can be written down. */
  constructor(spec, { note, onProcess }) {
    this.#spec = spec;
    this.#note = note;
    this.#onProcess = onProcess;
  }

  get spec() {
    return this.#spec;
  }

  /** What is needed to end the process from outside, or undefined while there is none. */
  get process() {
    const pid = this.#child?.pid;
    return pid === undefined
      ? undefined
      : { name: this.#spec.name, pid, start: this.#start, signal: this.#spec.endSignal };
  }

  /** Starts the server and waits until it answers; throws with the end of its log when it does not. */
  async start() {
    await this.#launch();
  }

  async #launch() {
    const { name, ready, logFile } = this.#spec;
    await this.#spec.beforeStart?.();
    const child = await spawnServer(this.#spec);
    let gone;
    child.once("exit", (code, signal) => {
      gone = signal ?? `exit code ${code}`;
      this.#child = undefined;
    });
    this.#child = child;
    this.#start = await startedAt(child.pid);
    if (this.#stopping) return this.#end(child, this.#spec.killSignal);
    await this.#onProcess();
    const begun = Date.now();
    while (!(await ready(child))) {
      if (gone !== undefined) {
        const lost = await this.#lostPort();
        if (lost !== undefined)
          throw new Error(`${name} cannot start: another program has taken port ${lost}`);
        throw new Error(`${name} ended at its start (${gone}):\n${await tail(logFile)}`);
      }
      if (this.#stopping) return undefined;
      if (Date.now() - begun > START_TIMEOUT_MS) {
        child.kill("SIGKILL");
        throw new Error(
          `${name} did not become ready within ${START_TIMEOUT_MS / 1000} s:\n${await tail(logFile)}`,
        );
      }
      await sleep(20);
    }
    const watch = (why) => {
      if (Date.now() - begun > STEADY_MS) this.#delayMs = FIRST_DELAY_MS;
      if (!this.#stopping) void this.#restart(why);
    };
    if (gone !== undefined) watch(gone);
    else child.once("exit", (code, signal) => watch(signal ?? `exit code ${code}`));
    return undefined;
  }

  /** One of the server's own ports, while it is not running, that somebody else listens on. */
  async #lostPort() {
    for (const port of this.#spec.ports) if (!(await canListen(port))) return port;
    return undefined;
  }

  async #restart(why) {
    const { name, ports } = this.#spec;
    let reason = `ended (${why})`;
    for (;;) {
      const delay = this.#delayMs;
      this.#delayMs = Math.min(delay * 2, LONGEST_DELAY_MS);
      this.#note(`${name} ${reason}; starting it again in ${delay / 1000} s`);
      await sleep(delay);
      if (this.#stopping) return;
      try {
        await this.#launch();
        if (!this.#stopping) this.#note(`${name} is back on port ${ports[0]}`);
        return;
      } catch (error) {
        reason = error.message.startsWith(name) ? error.message.slice(name.length + 1) : error.message;
      }
    }
  }

  /** Ends the server; `hard` skips the orderly stop, for data nobody will read again. */
  async stop({ hard, graceMs }) {
    this.#stopping = true;
    const child = this.#child;
    if (child === undefined) return;
    const timer = setTimeout(() => child.kill(this.#spec.killSignal), graceMs);
    const last = setTimeout(() => child.kill("SIGKILL"), graceMs + 2000);
    await this.#end(child, hard ? this.#spec.killSignal : this.#spec.endSignal);
    clearTimeout(timer);
    clearTimeout(last);
  }

  async #end(child, signal) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }
}
