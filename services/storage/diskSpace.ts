/** When a disk counts as full for uploads: before it is, so that what else is on it goes on working. */
import { statfs } from "node:fs/promises";
import { storageFull } from "./diskErrors.js";

export interface SpaceRule {
  /** Share of the disk that may be in use before uploads are refused ... */
  readonly maxUsedShare: number;
  /** ... unless this much is free all the same, as on a large and well-filled disk. */
  readonly enoughFreeBytes: number;
}

export const USUAL_SPACE_RULE: SpaceRule = { maxUsedShare: 0.8, enoughFreeBytes: 20 * 1024 ** 3 };

/** Throws `UnavailableError("storage_full")` when the disk that `folder` is on has no room by the rule. */
export async function requireSpace(
  folder: string,
  { maxUsedShare, enoughFreeBytes }: SpaceRule,
): Promise<void> {
  const { bsize, blocks, bfree, bavail } = await statfs(folder);
  // As df counts: blocks reserved for root are neither used nor free.
  const used = blocks - bfree;
  const usedShare = used + bavail === 0 ? 0 : used / (used + bavail);
  if (usedShare <= maxUsedShare) return;
  if (bavail * bsize >= enoughFreeBytes) return;
  throw storageFull(`${Math.floor(usedShare * 100)} % of the disk for uploads is in use`);
}
