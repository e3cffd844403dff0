/** Middle value; the mean of the two middle ones when there is an even number. Throws on an empty list. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error("Expected at least one value, got none");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
}

/** A ratio as it is printed: two decimals. */
export const ratio = (value: number): string => value.toFixed(2);

/** The value that `share` of all values do not exceed. Throws on an empty list. */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new Error("Expected at least one value, got none");
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] as number;
}
