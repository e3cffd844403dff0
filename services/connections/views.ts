/** A connection as its user sees it. */
import type { ConnectionProvider, ImportStatus } from "../../db/models/enums.js";
import type { ProviderSettings } from "../../utils/providerSettings.js";
import type { ImportQueue } from "../import/ImportQueue.js";
import type { ConnectionRow } from "./accounts.js";
import { availabilityOf } from "./availability.js";

export interface ConnectionView {
  readonly id: string;
  readonly provider: ConnectionProvider;
  readonly account: string;
  readonly status: "active" | "needs_reauth" | "paused" | "unavailable";
  readonly schedule: {
    readonly everyMinutes: number;
    readonly paused: boolean;
    /** Null when it does not run, and when the queue does not say. */
    readonly nextAt: Date | null;
  };
  readonly lastSync: { readonly importId: string; readonly status: ImportStatus; readonly at: Date } | null;
  /** Stretches of time that the provider told nothing about any more when it was asked. */
  readonly gaps: number;
  readonly createdAt: Date;
}

interface ViewingDependencies {
  readonly settings: ProviderSettings;
  /** Null: it is known not to answer. */
  readonly queue: Pick<ImportQueue, "inspectSchedule"> | null;
}

/** A list is answered without the times of schedules rather than late. */
const QUEUE_PATIENCE_MS = 1000;

export async function viewOf(deps: ViewingDependencies, row: ConnectionRow): Promise<ConnectionView> {
  const status = statusOf(row, deps.settings);
  return {
    id: row.id,
    provider: row.provider,
    account: row.account,
    status,
    schedule: {
      everyMinutes: row.every_minutes,
      paused: row.paused,
      nextAt: status === "active" && deps.queue !== null ? await nextAt(deps.queue, row.id) : null,
    },
    lastSync:
      row.last_import === null || row.last_status === null || row.last_at === null
        ? null
        : { importId: row.last_import, status: row.last_status, at: row.last_at },
    gaps: row.gaps,
    createdAt: row.created_at,
  };
}

/** What stands in the way first; whoever can do something about it comes after. */
function statusOf(row: ConnectionRow, settings: ProviderSettings): ConnectionView["status"] {
  if (!availabilityOf(settings, row.provider).available) return "unavailable";
  if (row.status !== "active") return row.status;
  return row.paused ? "paused" : "active";
}

async function nextAt(queue: NonNullable<ViewingDependencies["queue"]>, id: string): Promise<Date | null> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(() => resolve(null), QUEUE_PATIENCE_MS);
  });
  const asked = queue.inspectSchedule(id).then(
    (schedule) => schedule?.nextAt ?? null,
    () => null,
  );
  return Promise.race([asked, late]).finally(() => clearTimeout(timer));
}
