/** Made-up rows of Apple Music's export, as CSV. */

export type Cells = Readonly<Record<string, string | number>>;

const cell = (value: string | number): string => {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** The columns of the first row, and of each row its cells in them. */
export function csv(rows: readonly Cells[], columns = Object.keys(rows[0] ?? {})): string {
  const lines = rows.map((row) => columns.map((name) => cell(row[name] ?? "")).join(","));
  return [columns.map(cell).join(","), ...lines, ""].join("\n");
}

const FIRST = Date.parse("2022-03-01T08:00:00.000Z");
export const at = (ms: number): string => new Date(FIRST + ms).toISOString();

/** Columns of personal data that every file has and nobody may see again. */
const PERSONAL = {
  "Apple ID Number": 4711,
  "Client IP Address": "192.0.2.7",
  "Device Identifier": "my-phone",
};

/** A modern row: the song began `from` and ended `to` ms after the first moment, at these positions of it. */
export function activity(
  song: string,
  from: number,
  to: number,
  over: Cells & { readonly positions?: never } = {},
): Cells {
  return {
    "Album Name": `Album of ${song}`,
    ...PERSONAL,
    "End Position In Milliseconds": to - from,
    "End Reason Type": "NATURAL_END_OF_TRACK",
    "Event End Timestamp": at(to),
    "Event Start Timestamp": at(from),
    "Event Type": "PLAY_END",
    "Item Type": "ITUNES_STORE_CONTENT",
    "Media Duration In Milliseconds": 200_000,
    "Media Type": "AUDIO",
    Offline: "FALSE",
    "Play Duration Milliseconds": to - from,
    "Shuffle Play": "SHUFFLE_OFF",
    "Song Name": song,
    "Source Type": "ORIGINATING_DEVICE",
    "Start Position In Milliseconds": 0,
    "UTC Offset In Seconds": "-18000",
    ...over,
  };
}

export const daily = (description: string, count: number, over: Cells = {}): Cells => ({
  Country: "Norway",
  "Track Identifier": 1001,
  "Media type": "N/A",
  "Date Played": 20_220_301,
  Hours: "8, 9",
  "Play Duration Milliseconds": 90_000 * count,
  "End Reason Type": "N/A",
  "Source Type": "IPHONE",
  "Play Count": count,
  "Skip Count": 0,
  "Ignore For Recommendations": "",
  "Track Reference": "N/A",
  "Track Description": description,
  ...over,
});
