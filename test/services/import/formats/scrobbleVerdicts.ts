/** What tests of formats ask of a verdict. */
import type { ImportFormat, PartContext, Play } from "../../../../services/import/types.js";

export const CONTEXT: PartContext = { name: "x", includeIncognito: false, now: Date.UTC(2026, 0, 1) };

export function playIn(format: ImportFormat, record: unknown): Play {
  const verdict = format.judge(record, CONTEXT);
  if (verdict.verdict !== "play") throw new Error(`expected a play, got ${JSON.stringify(verdict)}`);
  return verdict.play;
}

export function reasonIn(format: ImportFormat, record: unknown): string {
  const verdict = format.judge(record, CONTEXT);
  return verdict.verdict === "play" ? "play" : `${verdict.verdict}: ${verdict.reason}`;
}
