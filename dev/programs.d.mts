/** What TypeScript code uses of programs.mjs; see there. */
export interface ProgramSearch {
  readonly cache: string;
  readonly note: (text: string) => void;
}
export function findRedis(
  search: ProgramSearch,
): Promise<{ readonly program: string; readonly env: Readonly<Record<string, string>> }>;
export function findPostgresClients(
  search: ProgramSearch,
): Promise<{ readonly pgDump: string; readonly pgRestore: string } | undefined>;
export function findTemporal(search: ProgramSearch): Promise<string>;
