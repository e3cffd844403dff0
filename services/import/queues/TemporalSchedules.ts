/**
 * The schedules of syncs on Temporal: one for each connection, so that people can look at it, pause it and trigger it there.
 * What a schedule should be is the connection's row; a pass of the worker makes up for whatever was lost. See docs/adr/0024.
 */
import { createHash } from "node:crypto";
import { ScheduleAlreadyRunning, ScheduleNotFoundError, ScheduleOverlapPolicy } from "@temporalio/client";
import type { ScheduleOptions } from "@temporalio/client";
import type { Logger } from "../../../utils/logger.js";
import { syncScheduleId, WORKFLOW_TYPES } from "../../../workflows/contracts.js";
import type { SyncConnectionInput } from "../../../workflows/contracts.js";
import type { ScheduleState, SyncSchedule } from "../ImportQueue.js";
import { isMissingAttribute, toQueueError } from "./temporalAnswers.js";
import { attributesOf } from "./temporalAttributes.js";
import type { TemporalCalls } from "./TemporalCalls.js";

export interface TemporalSchedulesOptions {
  readonly taskQueue: string;
  readonly heartbeatTimeoutMs: number;
  readonly log: Logger;
  /** For tests: how long the minutes of a schedule are. */
  readonly minuteMs?: number | undefined;
}

const MINUTE_MS = 60_000;
/** Of the interval: connections of one installation do not ask all at once, whenever they were made. */
const JITTER = 0.05;
/** A sync begins where the last one ended, so one for all that were missed is enough, and hours late it is of no use. */
const CATCHUP_WINDOW = "1 hour";
const PAGE_SIZE = 1000;
const PAUSED_NOTE =
  "Paused by playlog: its owner has paused it, must connect again, or the provider is not configured. The row of `connections` says which.";

export class TemporalSchedules {
  readonly #minuteMs: number;

  constructor(
    private readonly calls: TemporalCalls,
    private readonly options: TemporalSchedulesOptions,
  ) {
    this.#minuteMs = options.minuteMs ?? MINUTE_MS;
  }

  async upsert(schedule: SyncSchedule): Promise<void> {
    try {
      await this.#upsert(schedule, true);
    } catch (error) {
      if (!isMissingAttribute(error)) throw toQueueError(error);
      // As for other work: until the worker has registered them, without.
      const scheduleId = syncScheduleId(schedule.connectionId);
      this.options.log.warn("search attributes are not registered yet; scheduled without", { scheduleId });
      await this.#upsert(schedule, false).catch((other: unknown) => {
        throw toQueueError(other);
      });
    }
  }

  async remove(connectionId: string): Promise<void> {
    try {
      await this.calls.within(() => this.#handle(connectionId).delete());
    } catch (error) {
      if (!(error instanceof ScheduleNotFoundError)) throw toQueueError(error);
    }
  }

  async inspect(connectionId: string): Promise<ScheduleState | null> {
    try {
      const { spec, state, info } = await this.calls.within(() => this.#handle(connectionId).describe());
      const everyMs = spec.intervals?.[0]?.every ?? 0;
      return {
        everyMinutes: everyMs / this.#minuteMs,
        paused: state.paused,
        nextAt: state.paused ? null : (info.nextActionTimes[0] ?? null),
      };
    } catch (error) {
      if (error instanceof ScheduleNotFoundError) return null;
      throw toQueueError(error);
    }
  }

  /** Those that this installation made: others may have theirs in the same namespace. */
  async list(): Promise<string[]> {
    const prefix = syncScheduleId("");
    try {
      return await this.calls.within(async () => {
        const found: string[] = [];
        for await (const { scheduleId, memo } of this.calls.client.schedule.list({ pageSize: PAGE_SIZE }))
          if (scheduleId.startsWith(prefix) && memo?.["taskQueue"] === this.options.taskQueue)
            found.push(scheduleId.slice(prefix.length));
        return found;
      });
    } catch (error) {
      throw toQueueError(error);
    }
  }

  #handle(connectionId: string) {
    return this.calls.client.schedule.getHandle(syncScheduleId(connectionId));
  }

  async #upsert(schedule: SyncSchedule, searchAttributes: boolean): Promise<void> {
    const options = this.#optionsOf(schedule, searchAttributes);
    try {
      await this.calls.within(() => this.calls.client.schedule.create(options));
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      const { scheduleId: _, memo: __, ...changed } = options;
      await this.calls.within(() => this.#handle(schedule.connectionId).update(() => changed));
    }
  }

  #optionsOf(
    { connectionId, userId, provider, everyMinutes, paused }: SyncSchedule,
    searchAttributes: boolean,
  ): ScheduleOptions & { readonly state: { readonly paused: boolean } } {
    const every = everyMinutes * this.#minuteMs;
    const { heartbeatTimeoutMs } = this.options;
    const input: SyncConnectionInput = { connectionId, userId, heartbeatTimeoutMs };
    const attributes = attributesOf({ userId, provider, connectionId, kind: "schedule" });
    const findable = searchAttributes ? { typedSearchAttributes: attributes } : {};
    return {
      scheduleId: syncScheduleId(connectionId),
      spec: {
        intervals: [{ every, offset: offsetOf(connectionId, every) }],
        jitter: Math.floor(every * JITTER),
      },
      action: {
        type: "startWorkflow",
        workflowType: WORKFLOW_TYPES.syncConnection,
        workflowId: syncScheduleId(connectionId),
        taskQueue: this.options.taskQueue,
        args: [input],
        staticSummary: `opens a ${provider} sync`,
        staticDetails: `Opens a sync of connection \`${connectionId}\`, unless one is under way. The sync is a workflow of its own.`,
        ...findable,
      },
      policies: {
        overlap: ScheduleOverlapPolicy.SKIP,
        catchupWindow: CATCHUP_WINDOW,
        pauseOnFailure: false,
      },
      memo: { taskQueue: this.options.taskQueue },
      state: paused ? { paused, note: PAUSED_NOTE } : { paused },
      ...findable,
    };
  }
}

/** Milliseconds, in whole seconds, below `every`: intervals count from the epoch, so without it all hourly syncs would begin at once. */
function offsetOf(connectionId: string, every: number): number {
  const offset = createHash("sha256").update(connectionId).digest().readUIntBE(0, 6) % every;
  return offset - (offset % 1000);
}
