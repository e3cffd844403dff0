/** Connections as JSON. A field that a service adds never gets out by itself: least of all a token. */
import type { Availability } from "../../../services/connections/availability.js";
import type { ConnectionView } from "../../../services/connections/views.js";

export const presentConnection = ({
  id,
  provider,
  account,
  status,
  schedule,
  lastSync,
  gaps,
  createdAt,
}: ConnectionView) => ({
  id,
  provider,
  account,
  status,
  schedule: {
    everyMinutes: schedule.everyMinutes,
    paused: schedule.paused,
    nextAt: schedule.nextAt?.toISOString() ?? null,
  },
  lastSync: lastSync && {
    importId: lastSync.importId,
    status: lastSync.status,
    at: lastSync.at.toISOString(),
  },
  gaps,
  createdAt: createdAt.toISOString(),
});

export const presentAvailability = ({ provider, available, reason }: Availability) => ({
  provider,
  available,
  reason,
});
