/** Reading a provider as a sync does, without its database: page after page, each record judged. */
import { Budget } from "../../../../services/connections/budget.js";
import { createProviderFetch } from "../../../../services/connections/http/providerFetch.js";
import { providersOf } from "../../../../services/connections/providers/index.js";
import type {
  PlayRange,
  SyncAccess,
  SyncPage,
  SyncProvider,
} from "../../../../services/connections/providers/types.js";
import type { ConnectionProvider } from "../../../../db/models/enums.js";
import type { Play, Verdict } from "../../../../services/import/types.js";
import { RedisService } from "../../../../services/cache/RedisService.js";
import { createLogger } from "../../../../utils/logger.js";
import type { ProviderSettings } from "../../../../utils/providerSettings.js";
import type { StandIn } from "../../../support/providers/standIn.js";

/** A Redis that nobody runs, and that is not tried again for ever: the budget is that of this process. */
export function localBudget(now?: () => number): Budget {
  const log = createLogger({ level: "error", format: "json" }, { service: "test" });
  const redis = new RedisService({ url: "redis://127.0.0.1:1/0", log });
  redis.close();
  return new Budget(redis, now);
}

export function clientsOf(settings: ProviderSettings, budget = localBudget()) {
  const { timeoutMs, responseMaxBytes: maxBytes, ownOrigins: allowedOrigins } = settings;
  const fetch = createProviderFetch({ timeoutMs, maxBytes, allowedOrigins });
  return { fetch, budget };
}

export function paged(settings: ProviderSettings, name: ConnectionProvider, budget?: Budget): SyncProvider {
  const provider = providersOf(settings, clientsOf(settings, budget)).get(name);
  if (provider === undefined || !("page" in provider)) throw new Error(`${name} has no pages`);
  return provider;
}

export const providerOf = (standIn: StandIn, name: ConnectionProvider, budget?: Budget): SyncProvider =>
  paged(standIn.settings(), name, budget);

export function accessOf(account: string, token: string | null = null): SyncAccess {
  return { connectionId: `connection of ${account}`, account, token: () => Promise.resolve(token) };
}

export type Cursor = SyncPage["cursor"] | null;

export interface Sync {
  readonly verdicts: readonly Verdict[];
  readonly plays: readonly Play[];
  /** Of the plays, as hex. */
  readonly keys: readonly string[];
  readonly gaps: readonly NonNullable<SyncPage["gap"]>[];
  readonly pages: number;
  readonly cursor: Cursor;
}

const MOST_PAGES = 100;

/** @param pages stop after so many, as a run that is interrupted */
export async function sync(
  provider: SyncProvider,
  access: SyncAccess,
  {
    cursor = null,
    polledAt = Date.now(),
    pages = MOST_PAGES,
    range,
  }: { cursor?: Cursor; polledAt?: number; pages?: number; range?: PlayRange } = {},
): Promise<Sync> {
  const verdicts: Verdict[] = [];
  const gaps: NonNullable<SyncPage["gap"]>[] = [];
  let at = cursor;
  let count = 0;
  for (let more = true; more && count < pages; count += 1) {
    const { signal } = new AbortController();
    const request = { access, cursor: at, polledAt, signal };
    const page = await provider.page(range === undefined ? request : { ...request, range });
    const context = { name: provider.format.name, includeIncognito: false, now: polledAt };
    verdicts.push(...page.records.map((record) => provider.format.judge(record, context)));
    if (page.gap !== null) gaps.push(page.gap);
    // As it comes back out of the database.
    at = JSON.parse(JSON.stringify(page.cursor)) as SyncPage["cursor"];
    more = page.more;
  }
  const plays = verdicts.flatMap((verdict) => (verdict.verdict === "play" ? [verdict.play] : []));
  return { verdicts, plays, keys: plays.map(keyOf), gaps, pages: count, cursor: at };
}

export const keyOf = ({ sourceKey }: Play): string => sourceKey.toString("hex");
