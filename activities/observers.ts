import type { SyncObserver } from "../services/connections/syncing/observer.js";
import type { ImportObserver } from "../services/import/observer.js";
import type { Logger } from "../utils/logger.js";

/**
 * Passes everything on, and writes the beginning and the end of each import into the log. Which import it is, the log
 * scope of the activity says.
 */
export const withLog = (
  observer: ImportObserver & SyncObserver,
  log: Logger,
): ImportObserver & SyncObserver => ({
  jobStarted(event) {
    log.info("import began", { ...event });
    observer.jobStarted(event);
  },
  jobClosed(event) {
    log.info("import ended", { ...event });
    observer.jobClosed(event);
  },
  partSettled: (event) => observer.partSettled(event),
  batchCommitted: (event) => observer.batchCommitted(event),
  waiting: (event) => observer.waiting(event),
  attemptLost: (event) => observer.attemptLost(event),
  syncStepped: (event) => observer.syncStepped(event),
});
