/** Random numbers that come again: the seed is printed, and FAULT_SEED sets it. */

/** FAULT_SEED, or one of this moment. */
export function seedOfRun(): number {
  const given = Number(process.env["FAULT_SEED"]);
  return Number.isSafeInteger(given) && given > 0 ? given : Date.now() % 1_000_000_000;
}

/** Numbers from 0 to below 1 (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
