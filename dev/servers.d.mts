/** What TypeScript code uses of servers.mjs; see there. */
import type { ChildProcess } from "node:child_process";

/** How a server is started, and how it is known to be ready. */
export interface ServerSpec {
  readonly name: string;
  readonly url: string;
  readonly logFile: string;
  readonly beforeStart?: () => Promise<void>;
  readonly ready: (child: ChildProcess) => Promise<boolean>;
}
export function redisServer(options: {
  readonly folder: string;
  readonly port: number;
  readonly found: { readonly program: string; readonly env: Readonly<Record<string, string>> };
  readonly logFile: string;
}): ServerSpec;
export function temporalServer(options: {
  readonly folder: string;
  readonly port: number;
  readonly uiPort: number;
  readonly program: string;
  readonly throwaway: boolean;
  readonly logFile: string;
}): ServerSpec;
