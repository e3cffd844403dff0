import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { BullRunner } from "../../../../activities/bull/BullRunner.js";
import type { StepContext } from "../../../../services/import/stepContext.js";
import type { ImportSteps } from "../../../../services/import/steps.js";
import { ImportError } from "../../../../services/import/verdicts.js";
import { loadBullmq } from "../../../../services/import/queues/bull/library.js";
import { KEY_PREFIX } from "../../../../services/import/queues/bull/names.js";
import { workIdOf } from "../../../../services/import/queues/workIds.js";
import { BullImportQueue } from "../../../../services/import/queues/BullImportQueue.js";
import type { JobRef } from "../../../../services/import/ImportQueue.js";
import { freePort } from "../../../support/processes.js";
import { testStack } from "../../../support/stack.js";
import { quietLog } from "../importing.js";
import { describeQueueContract } from "../queueContract.js";

/** Of schedules. */
const MINUTE_MS = 1000;

const idOf = (ref: JobRef): string => workIdOf({ kind: "import", ...ref });

describeQueueContract("BullMQ", async () => {
  const { redisUrl } = testStack();
  const name = `contract-${randomUUID()}`;
  const nowhere = `redis://127.0.0.1:${await freePort()}/0`;
  const open = (url: string) =>
    BullImportQueue.open({
      name,
      redisUrl: url,
      log: quietLog,
      isOver: () => Promise.resolve(false),
      scheduleMinuteMs: MINUTE_MS,
    });
  const queues = await Promise.all([redisUrl, redisUrl, nowhere].map(open));
  const [queue, other, unreachable] = queues as [BullImportQueue, BullImportQueue, BullImportQueue];
  const bullmq = await loadBullmq();
  // All by id of the job.
  const endings = new Map<string, "completed" | "failed">();
  const begun = new Map<string, number>();
  const waited = new Map<string, number>();
  const opened = new Map<string, number>();
  const paused = new Set<string>();
  const count = (counts: Map<string, number>, id: string): void =>
    void counts.set(id, (counts.get(id) ?? 0) + 1);
  const look = (ref: JobRef): boolean => {
    const waits = paused.has(idOf(ref));
    if (waits) count(waited, idOf(ref));
    return waits;
  };
  /** Ends as it was told to, or runs until it is asked to stop. */
  const play = async <T>(id: string, { signal }: Pick<StepContext, "signal">, result: T): Promise<T> => {
    count(begun, id);
    const ending = endings.get(id);
    if (ending === "failed") throw new ImportError("owner_gone");
    if (ending === "completed") return result;
    for (;;) await sleep(1000, undefined, { signal });
  };
  const nothing = { partsTotal: 0, partsOpen: 0, provider: "spotify" };
  const never = (): Promise<never> => Promise.reject(new Error("there are no parts"));
  const steps: ImportSteps = {
    prepare: (ref, context) =>
      paused.has(idOf(ref))
        ? Promise.resolve({ paused: true, ...nothing })
        : play(idOf(ref), context, nothing),
    openParts: () => Promise.resolve([]),
    importPart: never,
    failPart: never,
    link: () => Promise.resolve({ linked: 0 }),
    finish: (_, { outcome }) => Promise.resolve(outcome),
    park: (ref) => Promise.resolve({ parked: look(ref) }),
    unpark: (ref) => Promise.resolve({ resumed: !look(ref) }),
    noteWaiting: () => Promise.resolve(),
    undo: (importId, context) =>
      play(workIdOf({ kind: "undo", importId }), context, { removed: 1, handedOver: 0 }),
  };
  return {
    queue,
    other,
    unreachable,
    work() {
      const runner = new BullRunner(bullmq, {
        name,
        redisUrl,
        log: quietLog,
        metrics: { activityEnded: () => undefined },
        outageRetryMs: 100,
        parallelParts: 2,
        lockMs: 1000,
        slots: 100, // what earlier tests enqueued runs, too
        syncs: {
          step: () => Promise.reject(new Error("there are no pages")),
          open: (connectionId) => {
            count(opened, connectionId);
            return Promise.resolve({ outcome: "refused", importId: null, refused: "missing" });
          },
        },
        steps,
        eraser: {
          stopImports: () => Promise.resolve({ underWay: 0 }),
          erase: (userId, context) =>
            play(workIdOf({ kind: "erase", userId }), context, { plays: 1, imports: 0, finished: true }),
        },
      });
      return Promise.resolve(() => runner.stop(5000));
    },
    willEnd: (ref, how) => endings.set(workIdOf(ref), how),
    setRow: (ref, row) => (row === "paused" ? paused.add(idOf(ref)) : paused.delete(idOf(ref))),
    terminate: (ref) => queue.terminate(ref),
    runs: (ref) => begun.get(workIdOf(ref)) ?? 0,
    openings: (connectionId) => opened.get(connectionId) ?? 0,
    minuteMs: MINUTE_MS,
    waits: (ref) => waited.get(idOf(ref)) ?? 0,
    async close() {
      await Promise.all(queues.map((each) => each.close()));
      const redis = new Redis(redisUrl);
      for await (const keys of redis.scanStream({ match: `${KEY_PREFIX}:${name}:*`, count: 1000 }))
        if ((keys as string[]).length > 0) await redis.del(keys as string[]);
      redis.disconnect();
    },
  };
});
