/** What TypeScript code uses of home.mjs; see there. */
import type { KnownProcess } from "./system.mjs";

export interface KeeperRecord {
  readonly keeper: { readonly pid: number; readonly start: string };
  readonly parent: { readonly pid: number; readonly start: string };
  readonly servers: readonly KnownProcess[];
  readonly foreignFolder?: string;
}
/** Undefined when nothing runs in the folder. */
export function readRecord(folder: string): Promise<KeeperRecord | undefined>;
