/** What TypeScript code uses of postgres.mjs; see there. */
import type { ServerSpec } from "./servers.mjs";

export function preparePostgres(options: {
  readonly folder: string;
  readonly port: number;
  readonly fsync: boolean;
  readonly logFile: string;
}): Promise<ServerSpec & { readonly foreignFolder: string | undefined }>;
/** Undefined when none runs. */
export function runningPostgres(folder: string): Promise<string | undefined>;
