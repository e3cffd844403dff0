import { Counter } from "prom-client";
import type { CacheObserver } from "../../services/cache/PageCache.js";
import type { ApiMetrics } from "./ApiMetrics.js";

/** Counts what the cache of answers did, by route. */
export function observePages({ registry }: ApiMetrics): CacheObserver {
  const answers = new Counter({
    name: "playlog_cache_answers_total",
    help: "Answers of cached routes: hit: no query; miss: asked for and kept; bypass: asked for and not kept",
    labelNames: ["route", "outcome"],
    registers: [registry],
  });
  return (route, outcome) => answers.inc({ route, outcome });
}
