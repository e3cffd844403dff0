/** The same made-up listener as in spotifyArchive.ts, as Apple and Google would export the history. */
import { type ArchiveFile, inPieces, jsonList, type LargeArchive, writeArchive } from "./largeArchive.js";
import { listenerRecords, random } from "./spotifyArchive.js";

interface Listened {
  readonly title: string;
  readonly artist: string;
  readonly album: string;
  readonly startMs: number;
  readonly endMs: number;
}

function* listens(rows: number): Generator<Listened> {
  for (const record of listenerRecords({ rows })) {
    const endMs = Date.parse(String(record["ts"]));
    yield {
      title: String(record["master_metadata_track_name"]),
      artist: String(record["master_metadata_album_artist_name"]),
      album: String(record["master_metadata_album_album_name"]),
      startMs: endMs - Number(record["ms_played"]),
      endMs,
    };
  }
}

/** What the files since 2025 have of columns; most of them are empty. */
const ACTIVITY_COLUMNS = 134;
const FILLED: readonly (readonly [name: string, value: string])[] = [
  ["Apple ID Number", "1000000001"],
  ["Apple Music Subscription", "TRUE"],
  ["Build Version", "Music/4.5.1 iOS/18.5 model/iPhone14,5 hwp/t8110 build/22F76 (6; dt:264)"],
  ["Client IP Address", "192.0.2.7"],
  ["Container Name", "Made for the road"],
  ["Container Type", "PLAYLIST"],
  ["Device Identifier", "5f0c6c1e9d3b4b7f8a21"],
  ["Device OS Name", "IPHONE OS"],
  ["Device Type", "IPHONE"],
  ["Event Type", "PLAY_END"],
  ["Feature Name", "library / playlist_detail"],
  ["ISO Country", "NO"],
  ["Item Type", "ITUNES_STORE_CONTENT"],
  ["Media Type", "AUDIO"],
  ["Offline", "FALSE"],
  ["Shuffle Play", "SHUFFLE_OFF"],
  ["Source Type", "ORIGINATING_DEVICE"],
  ["UTC Offset In Seconds", "7200"],
];
const PER_ROW = [
  "Album Name",
  "End Position In Milliseconds",
  "End Reason Type",
  "Event End Timestamp",
  "Event ID",
  "Event Received Timestamp",
  "Event Start Timestamp",
  "Media Duration In Milliseconds",
  "Milliseconds Since Play",
  "Play Duration Milliseconds",
  "Song Name",
  "Start Position In Milliseconds",
] as const;
type PerRow = Readonly<Record<(typeof PER_ROW)[number], string | number>>;

const SONG_MS = 240_000;
/** One listen in so many is cut in two by a pause, as in real files. */
const PAUSED_EACH = 10;
const PAUSE_MS = 20_000;

/** Apple Music's Play Activity with `rows` rows, without artists, and the library and the last year's Daily Tracks that tell them. */
export function writeAppleArchive(file: string, rows: number): Promise<LargeArchive> {
  const folder = "Apple_Media_Services/Apple Music Activity";
  function* files(): Generator<ArchiveFile> {
    yield { name: `${folder}/Apple Music Play Activity.csv`, pieces: inPieces(activityLines(rows)) };
    yield { name: `${folder}/Apple Music Library Tracks.json`, pieces: jsonList(library(rows)) };
    yield {
      name: `${folder}/Apple Music - Play History Daily Tracks.csv`,
      pieces: inPieces(dailyLines(rows)),
    };
  }
  return writeArchive(file, files());
}

function* activityLines(rows: number): Generator<string> {
  const constant = new Map(FILLED);
  const empty = Array.from(
    { length: ACTIVITY_COLUMNS - FILLED.length - PER_ROW.length },
    (_, n) => `Unused Column ${n + 1}`,
  );
  const columns = [...constant.keys(), ...PER_ROW, ...empty].sort();
  const changing = new Set<string>(PER_ROW);
  yield `${columns.join(",")}\n`;
  const line = (values: PerRow): string =>
    `${columns.map((name) => (changing.has(name) ? values[name as keyof PerRow] : `"${constant.get(name) ?? ""}"`)).join(",")}\n`;
  let left = rows;
  let n = 0;
  for (const listened of listens(rows)) {
    const { startMs, endMs } = listened;
    n += 1;
    const middle = startMs + Math.floor((endMs - startMs) / 2);
    const halves = n % PAUSED_EACH === 0 && left >= 2 && middle > startMs;
    if (halves) yield line(activityRow(listened, startMs, middle, 0, "PLAYBACK_MANUALLY_PAUSED"));
    const from = halves ? middle + PAUSE_MS : startMs;
    const until = halves ? endMs + PAUSE_MS : endMs;
    yield line(activityRow(listened, from, until, halves ? middle - startMs : 0, "NATURAL_END_OF_TRACK"));
    left -= halves ? 2 : 1;
    if (left <= 0) return;
  }
}

const activityRow = (
  { title, album }: Listened,
  startMs: number,
  endMs: number,
  position: number,
  reason: string,
): PerRow => ({
  "Album Name": album,
  "End Position In Milliseconds": position + endMs - startMs,
  "End Reason Type": reason,
  "Event End Timestamp": new Date(endMs).toISOString(),
  "Event ID": `-${endMs}${startMs % 1000}`,
  "Event Received Timestamp": new Date(endMs + 1500).toISOString(),
  "Event Start Timestamp": new Date(startMs).toISOString(),
  "Media Duration In Milliseconds": SONG_MS,
  "Milliseconds Since Play": 1500,
  "Play Duration Milliseconds": endMs - startMs,
  "Song Name": title,
  "Start Position In Milliseconds": position,
});

function* library(rows: number): Generator<unknown> {
  const seen = new Set<string>();
  for (const { title, artist, album } of listens(rows)) {
    if (seen.has(title)) continue;
    seen.add(title);
    yield {
      "Content Type": "Song",
      "Track Identifier": 10_000 + seen.size,
      Title: title,
      Artist: artist,
      Album: album,
      "Album Artist": artist,
      Genre: "Alternative",
      "Track Duration": SONG_MS,
      "Date Added To Library": "2020-01-01T00:00:00Z",
    };
  }
}

const LAST_YEAR = Date.UTC(2023, 0, 1);

function* dailyLines(rows: number): Generator<string> {
  yield "Country,Track Identifier,Media type,Date Played,Hours,Play Duration Milliseconds,End Reason Type,Source Type,Play Count,Skip Count,Ignore For Recommendations,Track Reference,Track Description\n";
  for (const { title, artist, startMs, endMs } of listens(rows)) {
    if (startMs < LAST_YEAR) continue;
    const day = new Date(startMs).toISOString().slice(0, 10).replaceAll("-", "");
    yield `Norway,${startMs % 1_000_000},N/A,${day},"8, 9",${endMs - startMs},N/A,IPHONE,1,0,,N/A,"${artist} - ${title}"\n`;
  }
}

interface Watched extends Listened {
  readonly videoId: string;
  readonly isMusic: boolean;
}

/** One video in so many is no music. */
const OTHER_EACH = 10;

/** Newest first, as Takeout has it. */
function* watched(entries: number): Generator<Watched> {
  const all = [...listens(entries)].reverse();
  for (const [index, listened] of all.entries()) {
    yield { ...listened, videoId: videoIdOf(listened.title), isMusic: index % OTHER_EACH !== 0 };
  }
}

/** Eleven characters that stand for the title. */
function videoIdOf(title: string): string {
  let seed = 0;
  for (let at = 0; at < title.length; at += 1) seed = (Math.imul(seed, 31) + title.charCodeAt(at)) | 0;
  const next = random(seed);
  return Array.from({ length: 11 }, () => Math.floor(next() * 36).toString(36)).join("");
}

const HISTORY = "Takeout/YouTube and YouTube Music/history/watch-history";

/** A Takeout whose history is JSON. */
export function writeTakeoutJson(file: string, entries: number): Promise<LargeArchive> {
  function* records(): Generator<unknown> {
    for (const { title, artist, videoId, isMusic, startMs } of watched(entries)) {
      const channel = isMusic ? `${artist} - Topic` : `${artist} explains`;
      yield {
        header: isMusic ? "YouTube Music" : "YouTube",
        title: `Watched ${title}`,
        titleUrl: `https://www.youtube.com/watch?v=${videoId}`,
        subtitles: [{ name: channel, url: `https://www.youtube.com/channel/UC${videoId}` }],
        time: new Date(startMs).toISOString(),
        products: ["YouTube"],
        activityControls: ["YouTube watch history"],
      };
    }
  }
  return writeArchive(file, [{ name: `${HISTORY}.json`, pieces: jsonList(records()) }]);
}

/** A Takeout whose history is a page, as it is unless one asks for JSON. */
export function writeTakeoutHtml(file: string, entries: number): Promise<LargeArchive> {
  function* texts(): Generator<string> {
    yield '<html><head><title>My Activity History</title><style type="text/css">.outer-cell{margin:0}</style></head><body><div class="mdl-grid">';
    for (const { title, artist, videoId, isMusic, startMs } of watched(entries)) {
      const channel = isMusic ? `${artist} - Topic` : `${artist} explains`;
      yield (
        '<div class="outer-cell mdl-cell mdl-cell--12-col mdl-shadow--2dp"><div class="mdl-grid"><div class="header-cell mdl-cell mdl-cell--12-col">' +
        `<p class="mdl-typography--title">${isMusic ? "YouTube Music" : "YouTube"}<br></p></div>` +
        '<div class="content-cell mdl-cell mdl-cell--6-col mdl-typography--body-1">' +
        `Watched&nbsp;<a href="https://www.youtube.com/watch?v=${videoId}">${title}</a><br>` +
        `<a href="https://www.youtube.com/channel/UC${videoId}">${channel}</a><br>${pageDate(startMs)}<br></div>` +
        '<div class="content-cell mdl-cell mdl-cell--6-col mdl-typography--body-1 mdl-typography--text-right"></div>' +
        '<div class="content-cell mdl-cell mdl-cell--12-col mdl-typography--caption"><b>Products:</b><br>&emsp;YouTube<br>' +
        "<b>Why is this here?</b><br>&emsp;This activity was saved to your Google Account because the following settings were on:&nbsp;" +
        'YouTube watch history. You can control these settings &nbsp;<a href="https://myaccount.google.com/activitycontrols">here</a>.</div></div></div>'
      );
    }
    yield "</div></body></html>";
  }
  return writeArchive(file, [{ name: `${HISTORY}.html`, pieces: inPieces(texts()) }]);
}

const PAGE_DATE = new Intl.DateTimeFormat("en-US", {
  timeZone: "UTC",
  dateStyle: "medium",
  timeStyle: "medium",
});
const pageDate = (ms: number): string => `${PAGE_DATE.format(ms)} UTC`;
