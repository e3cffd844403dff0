/** How much larger than its packed form a file may be. */
import type { FileProblem } from "./container.js";
import type { ReadLimits } from "./limits.js";

const MIB = 1024 ** 2;

export function exceedsRatio(unpackedBytes: number, packedBytes: number, limits: ReadLimits): boolean {
  return unpackedBytes > MIB && unpackedBytes > packedBytes * limits.maxRatio;
}

export function ratioProblem(limits: ReadLimits): FileProblem {
  return {
    code: "archive_limit",
    message: `The file unpacks to more than ${limits.maxRatio} times its packed size, which is the limit`,
  };
}
