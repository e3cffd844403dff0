/** Made-up activity of Google accounts, in JSON and as the pages that Takeout makes. */

export interface Watched {
  readonly header?: string;
  readonly title?: string;
  readonly url?: string;
  readonly channel?: string;
  readonly time?: string;
  readonly details?: readonly string[];
}

const ID = "abcdefghij";
export const videoUrl = (n: number, host = "www.youtube.com"): string =>
  `https://${host}/watch?v=${ID}${String.fromCharCode(65 + n)}`;
export const videoId = (n: number): string => `${ID}${String.fromCharCode(65 + n)}`;

const given = <T>(fields: Record<string, T | undefined>): Record<string, T> =>
  Object.fromEntries(Object.entries(fields).filter((field): field is [string, T] => field[1] !== undefined));

/** A record of watch-history.json; of music on a channel of its artist unless something else is given. */
export function activity(
  watched: Watched & { readonly gone?: readonly ("url" | "channel")[] } = {},
): unknown {
  const {
    header = "YouTube Music",
    title = "Watched Solar",
    url = videoUrl(0),
    channel = "Sault - Topic",
  } = watched;
  const { time = "2022-04-25T18:09:04.784Z", details, gone = [] } = watched;
  return given<unknown>({
    header,
    title,
    titleUrl: gone.includes("url") ? undefined : url,
    subtitles: gone.includes("channel")
      ? undefined
      : [{ name: channel, url: "https://www.youtube.com/channel/UC1" }],
    time,
    products: ["YouTube"],
    details: details?.map((name) => ({ name })),
    activityControls: ["YouTube watch history"],
  });
}

const STYLE = `<style type="text/css">.a{b:c}${'/* <div class="outer-cell"> */ '.repeat(100)}</style>`;

/** A page of entries, each `[before the link, link, after it, channel, date, details]`. */
export function page(entries: readonly string[], end = "</div></body></html>"): Buffer {
  return Buffer.from(
    `<html><head><title>My Activity History</title>${STYLE}</head><body><div class="mdl-grid">${entries.join("")}${end}`,
  );
}

export function entry({
  header = "YouTube Music",
  title = "Solar &amp; co",
  url = videoUrl(0),
  channel = "Sault - Topic",
  time = "Apr 25, 2022, 6:09:04\u202fPM UTC",
  details = [],
}: Watched = {}): string {
  const link = `<a href="${url}">${title}</a>`;
  const by = channel === "" ? "" : `<a href="https://www.youtube.com/channel/UC1">${channel}</a><br>`;
  return cell(header, `Watched&nbsp;${url === "" ? title : link}<br>${by}${time}<br>`, details);
}

export function cell(header: string, body: string, details: readonly string[] = []): string {
  const shown = details.length === 0 ? "" : `<b>Details:</b><br>&emsp;${details.join("<br>")}<br>`;
  return (
    `<div class="outer-cell mdl-cell mdl-cell--12-col mdl-shadow--2dp"><div class="mdl-grid"><div class="header-cell mdl-cell">` +
    `<p class="mdl-typography--title">${header}<br></p></div><div class="content-cell mdl-cell mdl-typography--body-1">${body}</div>` +
    `<div class="content-cell mdl-cell mdl-typography--body-1 mdl-typography--text-right"></div>` +
    `<div class="content-cell mdl-cell mdl-typography--caption"><b>Products:</b><br>&emsp;YouTube<br>${shown}` +
    `<b>Why is this here?</b><br>&emsp;Settings were on:&nbsp;<a href="https://myaccount.google.com/x">here</a>.</div></div></div>`
  );
}
