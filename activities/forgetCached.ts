import { RedisService } from "../services/cache/RedisService.js";
import type { Logger } from "../utils/logger.js";

/**
 * Redis for the moment in which an account is erased; a worker needs it for nothing else. The function deletes every key
 * that names one of the ids, and gives false when Redis does not answer.
 */
export const forgetCached =
  (url: string, log: Logger) =>
  async (ids: readonly string[]): Promise<boolean> => {
    const redis = new RedisService({ url, log });
    try {
      return (await redis.connect()) && (await redis.deleteNaming(ids));
    } finally {
      redis.close();
    }
  };
