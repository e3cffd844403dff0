/** How plays name what was played, and what is known by such a name. */
import type { Play } from "../types.js";

/** The texts and the strong id of a play: equal descriptions are one track on one album. */
export type Description = Pick<Play, "artist" | "title" | "album" | "trackId" | "durationMs">;

interface Link<T> {
  readonly artist: string;
  readonly title: string;
  readonly album: string | null;
  readonly provider: string | null;
  readonly value: T;
  readonly next: Link<T> | undefined;
}

/**
 * A map from descriptions. Found by the strong id, or else by the title, and then compared: no key is made of the
 * texts, which would cost more than all the rest of a look-up.
 */
export class ByDescription<T> {
  readonly #chains = new Map<string, Link<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(play: Description): T | undefined {
    const provider = play.trackId?.provider ?? null;
    for (let link = this.#chains.get(hookOf(play)); link !== undefined; link = link.next) {
      if (
        link.title === play.title &&
        link.artist === play.artist &&
        link.album === play.album &&
        link.provider === provider
      )
        return link.value;
    }
    return undefined;
  }

  /** For a description that is not in it. */
  add({ artist, title, album, trackId }: Description, value: T): void {
    const hook = trackId?.id ?? title;
    const next = this.#chains.get(hook);
    this.#chains.set(hook, { artist, title, album, provider: trackId?.provider ?? null, value, next });
    this.#size += 1;
  }

  /** Drops what was added first, with all of the same strong id or title. */
  dropOldest(): void {
    const [oldest] = this.#chains;
    if (oldest === undefined) return;
    const [hook, chain] = oldest;
    this.#chains.delete(hook);
    for (let link: Link<T> | undefined = chain; link !== undefined; link = link.next) this.#size -= 1;
  }

  clear(): void {
    this.#chains.clear();
    this.#size = 0;
  }
}

/** Characters that remembering a description holds. */
export const lengthOf = ({ artist, title, album, trackId }: Description): number =>
  artist.length + title.length + (album?.length ?? 0) + (trackId?.id.length ?? 0);

const hookOf = (play: Description): string => play.trackId?.id ?? play.title;
