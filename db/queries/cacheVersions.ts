/**
 * Versions of what cached answers show. A scope is a topic of one owner; every transaction that changes it announces
 * that, which moves the version and tells all processes when it commits. See docs/adr/0011.
 */
import type pg from "pg";

/** Written `topic owner version`. */
export const CHANGE_CHANNEL = "playlog_changed";

/** Owner of what belongs to nobody. */
const EVERYBODY = "00000000-0000-0000-0000-000000000000";

export interface Scope {
  readonly topic: "account" | "history" | "catalogue" | "listings";
  /** User id in lower case. */
  readonly owner: string;
}

/** The account itself: profile, role, visibility, whether it is on. Announced by a trigger. */
export const accountOf = (userId: string): Scope => ({ topic: "account", owner: userId.toLowerCase() });
/** Plays: added, edited, linked or removed. */
export const historyOf = (userId: string): Scope => ({ topic: "history", owner: userId.toLowerCase() });
/** Names and other details of artists, albums and tracks that were there before. A new one changes no answer. */
export const CATALOGUE: Scope = { topic: "catalogue", owner: EVERYBODY };
/**
 * Which artists, albums and tracks there are, and how popular: lists and discographies. Apart from CATALOGUE, because
 * it moves with every round of imports, and pages of histories do not show it.
 */
export const LISTINGS: Scope = { topic: "listings", owner: EVERYBODY };

export const scopeKey = ({ topic, owner }: Scope): string => `${topic} ${owner}`;

/**
 * Call it last in a transaction that changes what these scopes cover: until it ends nobody else can
 * announce the same, and transactions that announce in any other order could wait for each other.
 */
export async function announceChange(
  client: pg.ClientBase | pg.Pool,
  ...scopes: readonly Scope[]
): Promise<void> {
  const sorted = scopes.toSorted((a, b) => (scopeKey(a) < scopeKey(b) ? -1 : 1));
  for (const { topic, owner } of sorted) {
    await client.query("select announce_change($1, $2)", [topic, owner]);
  }
}

/** A version for each scope, in order: 0 before the first change, null where the owner is gone. */
export async function readVersions(
  pool: pg.Pool,
  scopes: readonly Scope[],
): Promise<readonly (number | null)[]> {
  const { rows } = await pool.query<{ version: number | null }>({
    name: "cache-versions",
    text: `
      select case when u.id is not null or s.owner = $3 then coalesce(v.version, 0) end as version
      from unnest($1::text[], $2::uuid[]) with ordinality as s (topic, owner, n)
      left join cache_versions v on v.topic = s.topic and v.owner = s.owner
      left join users u on u.id = s.owner
      order by s.n`,
    values: [scopes.map(({ topic }) => topic), scopes.map(({ owner }) => owner), EVERYBODY],
  });
  return rows.map(({ version }) => version);
}

export interface Change {
  readonly key: string;
  readonly version: number;
}

/** What a notification says; null when it is not one of ours. */
export function parseChange(payload: string): Change | null {
  const [topic, owner, version] = payload.split(" ");
  const number = Number(version);
  if (topic === undefined || owner === undefined || !Number.isSafeInteger(number)) return null;
  return { key: `${topic} ${owner}`, version: number };
}
