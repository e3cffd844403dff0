import type { Summary } from "../../../db/queries/stats.js";
import type { BucketSum } from "../../../services/stats/buckets.js";
import type { TopList } from "../../../services/stats/StatsService.js";

export const presentSummary = ({ plays, msPlayed, artists, albums, tracks, firstAt, lastAt }: Summary) => ({
  plays,
  msPlayed,
  artists,
  albums,
  tracks,
  firstAt,
  lastAt,
});

/** The page as JSON text: its rows are JSON already. */
export const presentTop = ({ items, nextCursor }: TopList): string =>
  `{"data":[${items}],"nextCursor":${JSON.stringify(nextCursor)}}`;

export const presentActivity = (buckets: readonly BucketSum[]) => ({
  data: buckets.map(({ bucket, plays, msPlayed }) => ({ bucket, plays, msPlayed })),
});
