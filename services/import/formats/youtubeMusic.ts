/** Artist and title of a piece of music, out of the channel and the title of its video. */
import { createYouTubeFilter } from "@web-scrobbler/metadata-filter";
import { UNKNOWN_ARTIST } from "./fields.js";

const TOPIC = " - Topic";
/** A channel of YouTube's own for whatever has no artist page; it names nobody. */
const PLACEHOLDER = "Release";
/** YouTube's own limit is 100 characters; the filter takes quadratic time in brackets. */
const FILTER_MAX_LENGTH = 300;
const SEPARATOR = /\s+[-–—~]\s+/u;
/** Brackets that tell one recording of a piece from another, which the filter would take for decoration. */
const RECORDING =
  /[([［（【﹝][^)\]］）】﹞]*\b(?:live|remix|mix|edit|acoustic|cover|demo|slowed|reverb|sped|nightcore|instrumental|karaoke|mashup)\b[^)\]］）】﹞]*[)\]］）】﹞]/iu;

const filter = createYouTubeFilter();

export interface Music {
  readonly artist: string;
  readonly title: string;
}

/** Channels that YouTube makes for an artist's releases: their names and titles are the label's own. */
export const isTopic = (channel: string): boolean => channel.endsWith(TOPIC) && channel.length > TOPIC.length;

/** `title` as in the video, without the words of the activity around it; never empty. */
export function musicOf(channel: string, title: string): Music {
  const owner = isTopic(channel) ? channel.slice(0, -TOPIC.length).trim() : null;
  if (owner !== null && owner !== PLACEHOLDER) return { artist: owner, title };
  const parts = split(title);
  const artist = owner === PLACEHOLDER ? UNKNOWN_ARTIST : channelArtist(channel);
  // "PVRIS: Waking Up": so begins a title that names its own channel.
  if (parts === null && title.length > artist.length + 2 && title.startsWith(`${artist}: `))
    return { artist, title: clean(title.slice(artist.length + 2).trim()) };
  return parts === null
    ? { artist, title: clean(title) }
    : { artist: parts.artist, title: clean(parts.title) };
}

/** "Artist - Title"; null when the title does not have that form. */
function split(title: string): Music | null {
  const at = SEPARATOR.exec(title);
  if (at === null) return null;
  const artist = title.slice(0, at.index).trim();
  const rest = title.slice(at.index + at[0].length).trim();
  return artist === "" || rest === "" ? null : { artist, title: rest };
}

function clean(title: string): string {
  if (title.length > FILTER_MAX_LENGTH) return title;
  const cleaned = filter.filterField("track", title).trim();
  if (cleaned === "") return title;
  const recording = RECORDING.exec(title)?.[0];
  return recording === undefined || cleaned.includes(recording) ? cleaned : `${cleaned} ${recording}`;
}

/** `TravisScottVEVO` is how record companies name a channel. */
function channelArtist(channel: string): string {
  const name = channel.replace(/\s*VEVO$/, "").trim();
  return name === "" ? channel : name;
}
