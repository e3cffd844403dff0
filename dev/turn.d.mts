/** What TypeScript code uses of turn.mjs; see there. */
export function takeTurn(port?: number, patienceMs?: number): Promise<() => void>;
