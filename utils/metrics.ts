/** What every process reports about itself, and the habits all metrics here share. */
import { collectDefaultMetrics, Registry } from "prom-client";

/**
 * A registry of its own per process part, so that tests can have several. Labels hold names out of fixed lists (a
 * route's template, a status, a reason) and never ids or anything a person typed: every value is a series kept for ever.
 */
export const createRegistry = (): Registry => new Registry();

/**
 * Adds CPU, memory, file handles, garbage collection and the delay of the event loop. Once per process, by its entry
 * point: the observers behind it live as long as the process.
 */
export function addProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
}

/** Bounds of histograms in seconds: for what a client waits for, and for work in the background. */
export const REQUEST_SECONDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600,
];
export const WORK_SECONDS: readonly number[] = [
  0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400,
];
