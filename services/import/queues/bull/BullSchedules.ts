/**
 * The schedules of syncs on BullMQ: a job scheduler for each connection that is not paused, and beside it what the
 * schedule is, for BullMQ has no pause. The connection's row is the truth; a pass of the worker makes up for what was lost.
 */
import { createHash } from "node:crypto";
import { syncScheduleId } from "../../../../workflows/contracts.js";
import type { ScheduleState, SyncSchedule } from "../../ImportQueue.js";
import type { BullCalls } from "./BullCalls.js";
import { KEPT_SECONDS, keysOf } from "./names.js";
import type { KeptSchedule } from "./names.js";

const MINUTE_MS = 60_000;

export class BullSchedules {
  readonly #key: string;

  /** `minuteMs`: for tests, how long the minutes of a schedule are. */
  constructor(
    private readonly calls: BullCalls,
    queueName: string,
    private readonly minuteMs = MINUTE_MS,
  ) {
    this.#key = keysOf(queueName).schedules;
  }

  upsert({ connectionId, everyMinutes, paused }: SyncSchedule): Promise<void> {
    const kept: KeptSchedule = { everyMinutes, paused };
    const every = everyMinutes * this.minuteMs;
    const { queue, redis } = this.calls;
    return this.calls.within(async () => {
      await redis.hset(this.#key, connectionId, JSON.stringify(kept));
      if (paused) await queue.removeJobScheduler(syncScheduleId(connectionId));
      else
        await queue.upsertJobScheduler(
          syncScheduleId(connectionId),
          { every, offset: offsetOf(connectionId, every) },
          {
            name: "due",
            data: { work: { kind: "due", connectionId } },
            opts: { removeOnComplete: true, removeOnFail: { age: KEPT_SECONDS } },
          },
        );
    });
  }

  remove(connectionId: string): Promise<void> {
    return this.calls.within(async () => {
      await this.calls.queue.removeJobScheduler(syncScheduleId(connectionId));
      await this.calls.redis.hdel(this.#key, connectionId);
    });
  }

  /** Null also when BullMQ has lost the scheduler: it is to be made again. */
  inspect(connectionId: string): Promise<ScheduleState | null> {
    return this.calls.within(async () => {
      const text = await this.calls.redis.hget(this.#key, connectionId);
      if (text === null) return null;
      const kept = JSON.parse(text) as KeptSchedule; // nobody else writes it
      if (kept.paused) return { ...kept, nextAt: null };
      const scheduler = await this.calls.queue.getJobScheduler(syncScheduleId(connectionId));
      if (scheduler?.next == null) return null;
      return { ...kept, nextAt: new Date(scheduler.next) };
    });
  }

  list(): Promise<string[]> {
    return this.calls.within(() => this.calls.redis.hkeys(this.#key));
  }
}

/** Milliseconds from 1 to the interval: connections do not ask all at once. BullMQ takes 0 for none, and would begin now. */
function offsetOf(connectionId: string, everyMs: number): number {
  const digest = createHash("sha256").update(connectionId).digest();
  return 1 + (digest.readUInt32BE(0) % Math.max(1, everyMs - 1));
}
