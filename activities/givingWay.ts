/** What a worker needs in order to give way to readers: none of it where there are processors for both. */
import { availableParallelism } from "node:os";
import { RedisService } from "../services/cache/RedisService.js";
import { FEW_PROCESSORS, Pace } from "../services/import/pace.js";
import { ReaderWatch } from "../services/readers.js";
import type { Logger } from "../utils/logger.js";

export interface GivingWay {
  readonly pace?: Pace;
  readonly close: () => void;
}

export function giveWay(redisUrl: string, log: Logger): GivingWay {
  if (availableParallelism() > FEW_PROCESSORS) return { close: () => undefined };
  const redis = new RedisService({ url: redisUrl, log });
  void redis.connect();
  const watch = new ReaderWatch(redis);
  return { pace: new Pace(() => watch.active()), close: () => redis.close() };
}
