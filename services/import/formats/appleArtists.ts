/**
 * Who made the songs whose rows name no artist, by other files of the same export. Only what is certain there: a title
 * that these files give to two artists is given to none.
 */
import { ownText } from "../../../utils/ownText.js";
import { nameKey } from "../../catalog/keys.js";

/** The file that told; kept in the play's context, for an inferred artist must never look like a given one. */
export type ArtistFrom = "library" | "daily-tracks" | "recently-played" | "play-history";

export interface InferredArtist {
  readonly artist: string;
  readonly from: ArtistFrom;
}

/** UTF-16 units of names and keys, some 40 MB; further names are not taken in. Libraries have a tenth of it. */
const MAX_CHARS = 16 * 1024 ** 2;

/** Editions of an album, which its plays may name otherwise than the library does. */
const EDITION =
  /(?:[([][^()[\]]*\b(?:deluxe|expanded|special|anniversary|bonus|remaster(?:ed)?)\b[^()[\]]*[)\]]|- (?:single|ep))\s*$/i;

/** By key; null once two artists share it. */
type Names = Map<string, string | null>;

export class ArtistNames {
  readonly #byAlbum: Names = new Map();
  readonly #byEdition: Names = new Map();
  readonly #byTitle: Readonly<Record<ArtistFrom, Names>> = {
    library: new Map(),
    "daily-tracks": new Map(),
    "recently-played": new Map(),
    "play-history": new Map(),
  };
  #chars = 0;

  add(from: ArtistFrom, title: string, artist: string, album: string | null = null): void {
    const titleKey = nameKey(title);
    this.#note(this.#byTitle[from], titleKey, artist);
    if (album === null) return;
    this.#note(this.#byAlbum, `${titleKey}\0${nameKey(album)}`, artist);
    this.#note(this.#byEdition, `${titleKey}\0${nameKey(withoutEdition(album))}`, artist);
  }

  find(title: string, album: string | null): InferredArtist | null {
    const titleKey = nameKey(title);
    const ofAlbum =
      album === null
        ? null
        : (this.#byAlbum.get(`${titleKey}\0${nameKey(album)}`) ??
          this.#byEdition.get(`${titleKey}\0${nameKey(withoutEdition(album))}`) ??
          null);
    if (ofAlbum !== null) return { artist: ofAlbum, from: "library" };
    for (const from of ["daily-tracks", "library", "recently-played", "play-history"] as const) {
      const artist = this.#byTitle[from].get(titleKey) ?? null;
      if (artist !== null) return { artist, from };
    }
    return null;
  }

  #note(names: Names, key: string, artist: string): void {
    const known = names.get(key);
    if (known === null) return;
    if (known !== undefined) {
      if (known !== artist && nameKey(known) !== nameKey(artist)) names.set(key, null);
      return;
    }
    this.#chars += key.length + artist.length;
    if (this.#chars <= MAX_CHARS) names.set(ownText(key), ownText(artist));
  }
}

/** No honest name is so long that looking for an edition in it takes time. */
const LONGEST_NAME = 300;

const withoutEdition = (album: string): string =>
  (album.length > LONGEST_NAME ? "" : album.replace(EDITION, "").trim()) || album;
