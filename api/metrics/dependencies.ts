import type { Database } from "../../db/knex.js";
import { addPoolMetrics } from "../../db/poolMetrics.js";
import { addSqlMetrics } from "../../db/sqlMetrics.js";
import type { RedisService } from "../../services/cache/RedisService.js";
import type { ApiMetrics } from "./ApiMetrics.js";

/** What the api stands on, as it sees it. */
export function addDependencyMetrics(
  metrics: ApiMetrics,
  { database, redis }: { readonly database: Database; readonly redis: RedisService },
): void {
  addPoolMetrics(metrics.registry, database);
  addSqlMetrics(metrics.registry, database);
  metrics.addGauge("playlog_redis_up", "1 while this process is connected to Redis", () =>
    Number(redis.state.connected),
  );
  metrics.addGauge("playlog_redis_breaker_open", "1 while Redis is left alone after failures in a row", () =>
    Number(redis.state.breakerOpen),
  );
}
