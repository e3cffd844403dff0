/** What TypeScript code uses of system.mjs; see there. */
import type { ChildProcess } from "node:child_process";
import type { ServerSpec } from "./servers.mjs";

export function freePort(wanted?: number, taken?: Set<number>): Promise<number>;
export function startedAt(pid: number): Promise<string | undefined>;
export interface KnownProcess {
  readonly name: string;
  readonly pid: number;
  readonly start: string;
  readonly signal: NodeJS.Signals;
}
export function endProcess(known: KnownProcess, graceMs: number): Promise<void>;
export function spawnServer(spec: ServerSpec): Promise<ChildProcess>;
export function tail(file: string, lines?: number): Promise<string>;
