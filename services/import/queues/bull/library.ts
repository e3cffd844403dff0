/** BullMQ, which is installed by those who use it. */
import type * as bullmq from "bullmq";
import { StartupError } from "../../../../utils/entryPoint.js";

export type BullLibrary = typeof bullmq;

/** Throws `StartupError` when the package is not there. */
export async function loadBullmq(): Promise<BullLibrary> {
  try {
    return await import("bullmq");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND")) throw error;
    throw new StartupError(
      "IMPORT_QUEUE=bullmq needs the package bullmq, which is not installed: npm install bullmq",
    );
  }
}
