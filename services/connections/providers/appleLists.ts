/** Comparing two lists of tracks last played, the newest first, in which a track that is heard again may move to the top. */

/**
 * How many entries at the top of `now` were not there yet in `before`: the fewest that explain the rest. The rest has to be
 * the old list in its order, from the first entry on; those of it that are missing have to be among the new ones. All of
 * `now` when nothing of it is known.
 */
export function newAtTop(now: readonly string[], before: readonly string[]): number {
  if (before.length === 0) return now.length;
  for (let fresh = 0; fresh < now.length; fresh += 1) {
    if (explains(now.slice(0, fresh), now.slice(fresh), before)) return fresh;
  }
  return now.length;
}

function explains(fresh: readonly string[], rest: readonly string[], before: readonly string[]): boolean {
  const moved = new Map<string, number>();
  for (const id of fresh) moved.set(id, (moved.get(id) ?? 0) + 1);
  let at = 0;
  for (const id of rest) {
    while (at < before.length && before[at] !== id) {
      const left = moved.get(before[at]!) ?? 0;
      if (left === 0) return false;
      moved.set(before[at]!, left - 1);
      at += 1;
    }
    // The list may reach further down than it did, never without what was there.
    if (at === before.length) return true;
    at += 1;
  }
  return true;
}
