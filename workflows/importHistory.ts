/**
 * Imports one upload: prepare, then its parts in a bounded window, then link and finish. A sync first asks its provider:
 * for pages, which are in with that, or for a file, which is its upload then. Everything of substance is in Postgres; this
 * code owns the order, the patience, the cancelling and the waiting.
 */
import {
  ApplicationFailure,
  CancellationScope,
  continueAsNew,
  defineQuery,
  isCancellation,
  log,
  patched,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from "@temporalio/workflow";
import { DUE_LANE, STATE_QUERY, syncTaskQueue } from "./contracts.js";
import type {
  FinishedImport,
  ImportActivities,
  ImportHistoryInput,
  ImportOutcome,
  ImportPhase,
  ImportProgress,
  ImportState,
  PartResult,
} from "./contracts.js";
import { failureOf, isClosed, isFinalForJob } from "./failures.js";
import { listenForPauses } from "./pausing.js";
import { showPhase } from "./phases.js";
import { syncActivities, syncPages } from "./syncing.js";

const stateQuery = defineQuery<ImportState>(STATE_QUERY);

/** A part is about six events; a run of so many stays far from the server's limits, and every payload small. */
const PARTS_PER_RUN = 500;

export async function importHistory(input: ImportHistoryInput): Promise<FinishedImport> {
  const { importId, attempt } = input;
  const run = { importId, attempt };
  const acts = activitiesFor(input);
  const pausing = listenForPauses(run, acts);

  let phase: ImportPhase = "queued";
  let progress: ImportProgress = input.resume?.progress ?? {
    partsTotal: 0,
    partsDone: 0,
    rowsRead: 0,
    rowsInserted: 0,
  };
  let afterPart = input.resume?.afterPart ?? -1;
  const inFlight = new Map<number, Promise<void>>();

  setHandler(stateQuery, () => ({ ...progress, phase, afterPart, inFlight: [...inFlight.keys()] }), {
    description: "Phase, counts and the parts being imported at this moment",
  });
  const show = (): void => setCurrentDetails(describe(phase, progress, [...inFlight.keys()]));
  const enter = (next: ImportPhase, provider?: string): void => {
    phase = next;
    showPhase(input, next, provider);
    show();
  };

  /** Goes on as `next`, once the job is not paused. */
  const rest = async (next: ImportPhase): Promise<void> => {
    enter("paused");
    await pausing.untilResumed();
    enter(next);
  };

  /** Returns the outcome, `paused`, or null when the history has grown long and the rest belongs to a new run. */
  const importOpenParts = async (): Promise<ImportOutcome | "paused" | null> => {
    const scope = new CancellationScope();
    const window = { stopped: false, paused: false, full: false, failure: undefined as unknown };
    const settle = (result: PartResult): void => {
      if (result.status === "stopped") window.stopped = true;
      else if (result.status === "paused") window.paused = true;
      else {
        progress = {
          ...progress,
          partsDone: progress.partsDone + 1,
          rowsRead: progress.rowsRead + result.read,
          rowsInserted: progress.rowsInserted + result.inserted,
        };
      }
    };
    const start = (partNo: number): void => {
      const part = { ...run, partNo };
      const summary = { summary: `part ${partNo + 1} of ${progress.partsTotal}` };
      const work = acts.importPart
        .executeWithOptions({ ...acts.partOptions, ...summary }, [part])
        .catch(async (err: unknown) => {
          if (isCancellation(err) || isFinalForJob(err)) throw err;
          // Patience with this one file is used up; the others are none the worse for it.
          log.warn("a part has failed for good", { partNo });
          return acts.failPart({ ...part, ...failureOf(err) });
        })
        .then(settle, (err: unknown) => {
          window.failure ??= err;
          scope.cancel();
        })
        .finally(() => {
          inFlight.delete(partNo);
          show();
        });
      inFlight.set(partNo, work);
      show();
    };
    const goOn = (): boolean =>
      !window.stopped && !window.paused && !pausing.asked() && !window.full && window.failure === undefined;

    try {
      await scope.run(async () => {
        const open = await acts.openParts({ ...run, afterPart, limit: PARTS_PER_RUN });
        for (const partNo of open) {
          while (inFlight.size >= input.parallelParts && goOn()) await Promise.race(inFlight.values());
          window.full ||= workflowInfo().continueAsNewSuggested;
          if (!goOn()) {
            // Parts are left over, also when the run has been told to go on by the time that the others are done.
            window.paused ||= pausing.asked();
            return;
          }
          start(partNo);
          afterPart = partNo;
        }
        window.full = open.length === PARTS_PER_RUN;
      });
    } catch (err) {
      window.failure ??= err;
    }
    // Activities belong to this run: none may be left behind, whatever comes next.
    await CancellationScope.nonCancellable(() => Promise.all(inFlight.values()));
    if (window.failure !== undefined) throw window.failure as Error;
    if (window.stopped) return { outcome: "cancelled" };
    if (window.paused || pausing.asked()) return "paused";
    return window.full ? null : { outcome: "completed" };
  };

  const importParts = async (): Promise<ImportOutcome | null> => {
    for (;;) {
      const outcome = await importOpenParts();
      if (outcome !== "paused") return outcome;
      await rest("importing");
      afterPart = -1; // those that were paused half way are open still
    }
  };

  const prepare = async (): Promise<void> => {
    enter("detecting");
    let prepared = await acts.prepare(run);
    while (prepared.paused === true) {
      await rest("detecting");
      prepared = await acts.prepare(run);
    }
    const { partsTotal, partsOpen, provider } = prepared;
    progress = { ...progress, partsTotal, partsDone: partsTotal - partsOpen };
    enter("importing", provider);
  };

  /** An import is not the worse for plays that are linked later: the worker makes up for it. */
  const link = async (): Promise<void> => {
    await acts.linkPlays(run).catch((err: unknown) => {
      log.warn("plays are linked later", { ...failureOf(err) });
    });
  };

  const importUpload = async (): Promise<ImportOutcome | null> => {
    if (input.resume === undefined) await prepare();
    else {
      phase = "importing";
      show();
    }
    return importParts();
  };

  const sync = async (): Promise<ImportOutcome | null> => {
    enter("importing");
    const pages = await syncPages(run, syncActivities(input), pausing, {
      onPage({ read, inserted }) {
        const { rowsRead, rowsInserted } = progress;
        progress = { ...progress, rowsRead: rowsRead + read, rowsInserted: rowsInserted + inserted };
        show();
      },
      rest: () => rest("importing"),
      onWait(until) {
        enter("waiting");
        setCurrentDetails(`**waiting** for the provider until ${until}`);
      },
      onGoOn: () => enter("importing"),
    });
    if (pages === "upload") {
      await prepare();
      return importParts();
    }
    if (pages === "full") return null;
    return { outcome: pages === "done" ? "completed" : "cancelled" };
  };

  let next = input.sync === true ? sync : importUpload;
  for (;;) {
    let outcome: ImportOutcome | null;
    let failure: unknown;
    try {
      outcome = await next();
    } catch (err) {
      // Closed from elsewhere (cancelled while queued, or a newer attempt): the row says all there is to say.
      if (isClosed(err)) return { status: "closed" };
      failure = err;
      outcome = isCancellation(err) ? { outcome: "cancelled" } : { outcome: "failed", ...failureOf(err) };
    }
    if (outcome === null) {
      // Outside any try: it works by throwing.
      return continueAsNew<typeof importHistory>({ ...input, resume: { afterPart, progress } });
    }

    const ending = outcome;
    const finished = await CancellationScope.nonCancellable(async () => {
      enter("finishing");
      if (patched("link-plays")) await link();
      const result = await acts.finish({ ...run, ...ending });
      if (result.status !== "paused") enter("done");
      return result;
    });
    if (finished.status === "paused") {
      // Its last batch was in when it was paused. It stays paused, and is closed once it is resumed.
      next = async () => {
        await rest("importing");
        return input.sync === true ? sync() : importParts();
      };
      continue;
    }
    if (failure !== undefined && isCancellation(failure)) throw failure as Error;
    if (ending.outcome === "failed") throw ApplicationFailure.nonRetryable(ending.message, ending.code);
    return finished;
  }
}

/**
 * A step that failed says itself when it is to be tried again. What the policy says counts for one that was lost with
 * its worker: another one takes it over within seconds, however often that happened before.
 */
const afterLostWorker = {
  initialInterval: "2 seconds",
  backoffCoefficient: 2,
  maximumInterval: "10 seconds",
} as const;

/** Never an execution timeout anywhere: it would end the workflow without its clean-up. */
function activitiesFor({
  heartbeatTimeoutMs,
  syncLane,
}: Pick<ImportHistoryInput, "heartbeatTimeoutMs" | "syncLane">) {
  const ending =
    syncLane === undefined ? {} : { taskQueue: syncTaskQueue(workflowInfo().taskQueue, DUE_LANE) };
  const partOptions = {
    startToCloseTimeout: "60 minutes",
    heartbeatTimeout: heartbeatTimeoutMs,
    scheduleToCloseTimeout: "24 hours",
    retry: afterLostWorker,
  } as const;
  const { importPart } = proxyActivities<Pick<ImportActivities, "importPart">>(partOptions);
  const longStep = {
    startToCloseTimeout: "15 minutes",
    heartbeatTimeout: heartbeatTimeoutMs,
    scheduleToCloseTimeout: "24 hours",
    retry: afterLostWorker,
  } as const;
  const { prepare } = proxyActivities<Pick<ImportActivities, "prepare">>(longStep);
  const { linkPlays } = proxyActivities<Pick<ImportActivities, "linkPlays">>({ ...longStep, ...ending });
  const shortStep = {
    startToCloseTimeout: "60 seconds",
    retry: afterLostWorker,
  } as const;
  const boundedStep = { ...shortStep, scheduleToCloseTimeout: "24 hours" } as const;
  const { openParts, failPart } =
    proxyActivities<Pick<ImportActivities, "openParts" | "failPart">>(boundedStep);
  const { finish } = proxyActivities<Pick<ImportActivities, "finish">>({ ...boundedStep, ...ending });
  // What is paused must not fail of waiting.
  const { park, unpark } = proxyActivities<Pick<ImportActivities, "park" | "unpark">>(shortStep);
  return { prepare, importPart, partOptions, openParts, failPart, linkPlays, finish, park, unpark };
}

/** What the Temporal UI shows of a running import. Numbers only: file names can be personal. */
function describe(phase: ImportPhase, progress: ImportProgress, inFlight: readonly number[]): string {
  return [
    `**${phase}**`,
    "",
    "| parts done | parts | rows read | rows inserted | now at part |",
    "| ---: | ---: | ---: | ---: | --- |",
    `| ${progress.partsDone} | ${progress.partsTotal} | ${progress.rowsRead} | ${progress.rowsInserted} | ${inFlight.map((n) => n + 1).join(", ") || "–"} |`,
  ].join("\n");
}
