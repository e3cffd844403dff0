import { Gauge } from "prom-client";
import type { Registry } from "prom-client";
import { spoolUsage } from "../services/storage/spoolUsage.js";
import type { SpoolUsage } from "../services/storage/spoolUsage.js";

const FIGURES: Readonly<Record<string, readonly [help: string, read: (usage: SpoolUsage) => number]>> = {
  playlog_spool_files: ["Files of uploads that are kept", (usage) => usage.files],
  playlog_spool_bytes: ["Bytes of uploads that are kept", (usage) => usage.bytes],
  playlog_spool_free_bytes: ["Bytes free on the disk of the uploads", (usage) => usage.freeBytes],
  playlog_spool_size_bytes: ["Size of the disk of the uploads", (usage) => usage.sizeBytes],
};

/** Without values while the folder is not there: nothing was ever uploaded. */
export function addSpoolMetrics(registry: Registry, folder: string): void {
  let looking: Promise<SpoolUsage | null> | undefined;
  // All four of one scrape are asked for in the same moment, and share one look.
  const look = (): Promise<SpoolUsage | null> =>
    (looking ??= spoolUsage(folder).finally(() => (looking = undefined)));
  for (const [name, [help, read]] of Object.entries(FIGURES)) {
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        const usage = await look();
        if (usage === null) this.remove({});
        else this.set(read(usage));
      },
    });
  }
}
