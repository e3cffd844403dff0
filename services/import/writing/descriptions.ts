/** How plays name what was played, and what is known by such a name. */
import type { Play } from "../types.js";

/** The texts and the strong id of a play: equal descriptions are one track on one album. */
export type Description = Pick<Play, "artist" | "title" | "album" | "trackId" | "durationMs">;

/**
 * Descriptions of one title are searched one by one. An archive can give a hundred thousand artists the same title, and
 * would stop the process for many seconds a batch; what honest libraries have in common ("Intro") fits.
 */
export const LONGEST_CHAIN = 64;

interface Link<T> {
  readonly artist: string;
  readonly title: string;
  readonly album: string | null;
  readonly provider: string | null;
  readonly value: T;
  readonly next: Link<T> | undefined;
  /** Links from here on. */
  readonly length: number;
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

  /** For a description that is not in it. One too many of the same strong id or title, and those before are dropped. */
  add({ artist, title, album, trackId }: Description, value: T): void {
    const hook = trackId?.id ?? title;
    const before = this.#chains.get(hook);
    const next = before === undefined || before.length >= LONGEST_CHAIN ? undefined : before;
    const length = (next?.length ?? 0) + 1;
    this.#chains.set(hook, {
      artist,
      title,
      album,
      provider: trackId?.provider ?? null,
      value,
      next,
      length,
    });
    this.#size += length - (before?.length ?? 0);
  }

  /** Drops what was added first, with all of the same strong id or title. */
  dropOldest(): void {
    const [oldest] = this.#chains;
    if (oldest === undefined) return;
    const [hook, chain] = oldest;
    this.#chains.delete(hook);
    this.#size -= chain.length;
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
