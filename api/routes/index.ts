/** All resources. A new one adds a line: its declarations go into the document, its router into the app. */
import { type Endpoint, endpointsOf } from "../middleware/endpoint.js";
import type { AppDeps, AppRouter } from "../types.js";
import { albumsRouter } from "./albums/albums.js";
import * as albums from "./albums/schema.js";
import { artistsRouter } from "./artists/artists.js";
import * as artists from "./artists/schema.js";
import { authRouter } from "./auth/auth.js";
import * as auth from "./auth/schema.js";
import { connectionsRouter } from "./connections/connections.js";
import * as connections from "./connections/schema.js";
import * as docs from "./docs/schema.js";
import { healthRouter } from "./health/health.js";
import * as health from "./health/schema.js";
import { importsRouter } from "./imports/imports.js";
import * as imports from "./imports/schema.js";
import { listeningHistoryRouter } from "./listening-history/listeningHistory.js";
import * as listeningHistory from "./listening-history/schema.js";
import * as search from "./search/schema.js";
import { searchRouter } from "./search/search.js";
import * as stats from "./stats/schema.js";
import { statsRouter } from "./stats/stats.js";
import * as tracks from "./tracks/schema.js";
import { tracksRouter } from "./tracks/tracks.js";
import * as users from "./users/schema.js";
import { usersRouter } from "./users/users.js";

export interface Resource {
  readonly endpoints: readonly Endpoint[];
  readonly router: (deps: AppDeps) => AppRouter;
}

export const resources: readonly Resource[] = [
  { endpoints: endpointsOf(auth), router: authRouter },
  { endpoints: endpointsOf(users), router: usersRouter },
  { endpoints: endpointsOf(listeningHistory), router: listeningHistoryRouter },
  { endpoints: endpointsOf(tracks), router: tracksRouter },
  { endpoints: endpointsOf(artists), router: artistsRouter },
  { endpoints: endpointsOf(albums), router: albumsRouter },
  { endpoints: endpointsOf(imports), router: importsRouter },
  { endpoints: endpointsOf(connections), router: connectionsRouter },
  { endpoints: endpointsOf(search), router: searchRouter },
  { endpoints: endpointsOf(stats), router: statsRouter },
  { endpoints: endpointsOf(health), router: healthRouter },
];

/** Every endpoint, the documentation's own included, in the order of the document. */
export const endpoints: readonly Endpoint[] = [
  ...resources.flatMap((resource) => resource.endpoints),
  ...endpointsOf(docs),
];
