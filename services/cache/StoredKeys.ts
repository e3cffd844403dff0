/**
 * What this process has put into Redis for whom. It bounds what one user can make it keep, and takes the answer before
 * a change away when the one after it is kept.
 */

/** Answers kept for one user: the pages an app shows, and the filters somebody plays with. */
export const KEPT_PER_USER = 32;
/** Users remembered; answers for others stay until they expire. */
const MAX_USERS = 2000;

export class StoredKeys {
  /** User → base → key; both in the order of their last use. */
  readonly #users = new Map<string, Map<string, string>>();

  /** Notes that `key` is stored for `base`; gives the keys to delete in exchange. */
  replace(userId: string, base: string, key: string): string[] {
    const kept = this.#users.get(userId) ?? new Map<string, string>();
    this.#users.delete(userId);
    this.#users.set(userId, kept);
    if (this.#users.size > MAX_USERS) this.#users.delete(firstOf(this.#users));

    const before = kept.get(base);
    kept.delete(base);
    kept.set(base, key);
    const instead = before === undefined || before === key ? [] : [before];
    if (kept.size > KEPT_PER_USER) {
      const oldest = firstOf(kept);
      instead.push(kept.get(oldest)!);
      kept.delete(oldest);
    }
    return instead;
  }
}

/** @param map not empty */
const firstOf = (map: ReadonlyMap<string, unknown>): string => map.keys().next().value!;
