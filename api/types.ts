/** What requests carry and what the api is built from. */
import type Router from "@koa/router";
import type Koa from "koa";
import type { Config } from "../config.js";
import type { Database } from "../db/knex.js";
import type { Reads } from "../db/replica.js";
import type { TokenScope, UserRole } from "../db/models/enums.js";
import type { AuthService } from "../services/auth/AuthService.js";
import type { PageCache } from "../services/cache/PageCache.js";
import type { RedisService } from "../services/cache/RedisService.js";
import type { ConnectionService } from "../services/connections/ConnectionService.js";
import type { HistoryEditor } from "../services/history/HistoryEditor.js";
import type { CatalogueService } from "../services/catalog/CatalogueService.js";
import type { HistoryService } from "../services/history/HistoryService.js";
import type { ImportService } from "../services/import/ImportService.js";
import type { ImportQueue } from "../services/import/ImportQueue.js";
import type { SearchService } from "../services/search/SearchService.js";
import type { StatsService } from "../services/stats/StatsService.js";
import type { BlobStore } from "../services/storage/BlobStore.js";
import type { ExportService } from "../services/users/export/ExportService.js";
import type { UserService } from "../services/users/UserService.js";
import type { Logger } from "../utils/logger.js";
import type { ApiMetrics } from "./metrics/ApiMetrics.js";
import type { Authentication } from "./middleware/auth.js";
import type { RequestLimits } from "./middleware/rateLimit.js";

/** Who sent the request, once its access token and session, or its personal API token, are checked. */
export interface Caller {
  readonly userId: string;
  readonly role: UserRole;
  /** Null for a personal API token, and never for an endpoint whose scope is `session`. */
  readonly sessionId: string | null;
  /** Of the personal API token; null for a session. */
  readonly tokenId: string | null;
  /** What a personal API token may do; null for a session, which may do everything its user may. */
  readonly scopes: readonly TokenScope[] | null;
}

export interface AppState {
  requestId: string;
  log: Logger;
  /** Set by api/middleware/auth.ts; `mount` asks it for endpoints that need a user. */
  authentication: Authentication;
  /** Template of the matched route (`/api/v1/users/:id`), for logs and metrics; absent when none matched. */
  route?: string;
  /** Path parameters as validated; handlers get them typed from `mount`. */
  params?: unknown;
  /** Set by api/middleware/rateLimit.ts; absent with RATE_LIMIT=off. */
  limits?: RequestLimits;
  /** Set by api/middleware/cache.ts. */
  pages: PageCache;
  /** Set by a handler through `keepOutOfCache`. */
  uncacheable?: boolean;
  /** Tag of the body, where it is more than a hash of it; without quotes. */
  etag?: string;
  /** Set while and after an endpoint that needs a user runs. */
  caller?: Caller;
}

export type AppContext = Koa.ParameterizedContext<AppState, object>;
export type AppRouter = Router<AppState, object>;
export type AppMiddleware = (ctx: AppContext, next: Koa.Next) => Promise<void>;

/** Everything `buildApp` needs. Made by api/server.ts and by test/support/app.ts; `buildApp` opens nothing itself. */
export interface AppDeps {
  readonly config: Config;
  readonly database: Database;
  readonly reads: Reads;
  readonly redis: RedisService;
  readonly pages: PageCache;
  readonly queue: ImportQueue;
  readonly blobs: BlobStore;
  readonly auth: AuthService;
  /** Null with RATE_LIMIT=off. */
  readonly limits: RequestLimits | null;
  readonly users: UserService;
  readonly exports: ExportService;
  readonly history: HistoryService;
  readonly historyEditor: HistoryEditor;
  readonly catalogue: CatalogueService;
  readonly stats: StatsService;
  readonly search: SearchService;
  readonly imports: ImportService;
  readonly connections: ConnectionService;
  readonly metrics: ApiMetrics;
  readonly log: Logger;
}
