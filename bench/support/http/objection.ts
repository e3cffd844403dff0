/**
 * A program: the api as it is, but for the list of plays, which is read as Objection's guides do it: models, with what they
 * refer to fetched as a graph, and made into JSON here.
 */
import type { Knex } from "knex";
import { buildApp } from "../../../api/app.js";
import { composeServices } from "../../../api/composition.js";
import { serve } from "../../../api/httpServer.js";
import { loadConfig } from "../../../config.js";
import { createDatabase } from "../../../db/knex.js";
import { DatabaseListener } from "../../../db/listener.js";
import { ListeningHistory } from "../../../db/models/ListeningHistory.js";
import { loadSigningKeys } from "../../../services/auth/signingKeys.js";
import { loadConnectionSecrets } from "../../../services/connections/secrets.js";
import { RedisService } from "../../../services/cache/RedisService.js";
import {
  HistoryService,
  type HistoryPage,
  type HistoryQuery,
} from "../../../services/history/HistoryService.js";
import { TemporalImportQueue } from "../../../services/import/queues/TemporalImportQueue.js";
import { FileBlobStore } from "../../../services/storage/FileBlobStore.js";
import { createLogger } from "../../../utils/logger.js";
import { decodeCursor, encodeCursor, isPositionNumber, isPositionTime } from "../../../utils/pagination.js";

class GraphHistory extends HistoryService {
  constructor(
    options: ConstructorParameters<typeof HistoryService>[0],
    private readonly knex: Knex,
  ) {
    super(options);
  }

  override async list(userId: string, { limit, cursor }: HistoryQuery): Promise<HistoryPage> {
    const plays = ListeningHistory.query(this.knex)
      .where({ userId })
      .whereNull("duplicateOf")
      .orderBy([
        { column: "playedAt", order: "desc" },
        { column: "id", order: "desc" },
      ])
      .limit(limit + 1)
      .withGraphFetched("[track, artist, album]");
    if (cursor !== undefined) {
      const after = decodeCursor("listens-desc", cursor, ([playedAt, id]) =>
        isPositionTime(playedAt) && isPositionNumber(id) ? ([playedAt, id] as const) : null,
      );
      void plays.whereRaw("(played_at, id) < (?, ?)", [...after]);
    }
    const found = await plays;
    const shown = found.slice(0, limit);
    const last = shown.at(-1);
    return {
      items: JSON.stringify(shown.map(present)).slice(1, -1),
      nextCursor:
        found.length > limit && last !== undefined
          ? encodeCursor("listens-desc", [last.playedAt.toISOString().replace("Z", "000Z"), last.id])
          : null,
    };
  }
}

const present = (play: ListeningHistory): object => ({
  id: play.id,
  playedAt: play.playedAt.toISOString(),
  msPlayed: play.msPlayed,
  precision: play.precision,
  source: play.source,
  counted: play.counted,
  duplicateOf: play.duplicateOf,
  importId: play.importJobId,
  track: play.track && { id: play.track.id, title: play.track.title, durationMs: play.track.durationMs },
  artist: play.artist && { id: play.artist.id, name: play.artist.name },
  album: play.album ? { id: play.album.id, title: play.album.title } : null,
  context: play.context,
  createdAt: play.createdAt.toISOString(),
  updatedAt: play.updatedAt.toISOString(),
});

const config = loadConfig(process.env);
const log = createLogger(config.log, { service: "api" });
const database = createDatabase(config.database, { applicationName: "playlog-graph" });
const redis = new RedisService({ url: config.redis.url, log });
const listener = new DatabaseListener({ databaseUrl: config.database.url, log });
const { parallelParts, heartbeatTimeoutMs } = config.imports;
const deps = composeServices({
  config,
  database,
  redis,
  listener,
  queue: new TemporalImportQueue({ ...config.temporal, parallelParts, heartbeatTimeoutMs, log }),
  blobs: new FileBlobStore(config.spoolDir),
  keys: await loadSigningKeys(config.home, config.auth.jwtSecret),
  secrets: await loadConnectionSecrets(config),
  log,
});
await Promise.all([redis.connect(), listener.start()]);
const history = new GraphHistory({ pool: database.pool, reads: deps.reads }, database.knex);
await serve(buildApp({ ...deps, history }), config.http.host, config.http.port);
process.on("disconnect", () => process.exit());
process.send?.("ready");
