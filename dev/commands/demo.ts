/** `npm run demo [-- --exit]`: playlog with an account and a history in it, filled through HTTP like by anybody. */
import path from "node:path";
import type { App } from "../app.js";
import { DemoClient, type ImportJob, type LedgerRow, type Listen, demoLogin } from "../client.js";
import { SPOTIFY_SAMPLE, spotifySampleArchive } from "../samples/spotifyArchive.js";
import { STOP_HINT, announce, runApp } from "./start.js";

const CLOSED = new Set(["completed", "completed_with_errors", "cancelled", "failed"]);
const PATIENCE_MS = 120_000;

export async function run(args: readonly string[]): Promise<void> {
  await runApp(async (app) => {
    await show(app);
    announce(app, args.includes("--exit") ? [] : [STOP_HINT]);
    return args.includes("--exit") ? "leave" : "stay";
  });
}

async function show(app: App): Promise<void> {
  const login = demoLogin(path.join(app.home, "demo-login.json"));
  const client = new DemoClient(app.url);
  await client.signIn(login);
  const archive = spotifySampleArchive();
  console.log(
    `\nUploading ${SPOTIFY_SAMPLE.filename}, ${(archive.length / 1024).toFixed(1)} KB, as ${login.username}`,
  );
  const begun = Date.now();
  const job = await waitForEnd(client, await client.upload(SPOTIFY_SAMPLE.filename, archive));
  console.log(`Import ${job.id} ${job.status} after ${((Date.now() - begun) / 1000).toFixed(1)} s\n`);
  if (job.error !== null) throw new Error(`the import failed: ${job.error.message} (${job.error.code})`);

  printLedger(job);
  checkLedger(job);
  await printRows(client, job);
  await printHistory(client);

  console.log("\nWhere to look");
  if (app.temporalUiUrl !== undefined && job.workflowId !== null) {
    console.log(`  this import  ${app.temporalUiUrl}/namespaces/${namespace()}/workflows/${job.workflowId}`);
  }
  console.log(`  login        ${login.username} / ${login.password}`);
}

const namespace = (): string => process.env["TEMPORAL_NAMESPACE"] || "default";

async function waitForEnd(client: DemoClient, first: ImportJob): Promise<ImportJob> {
  const bar = progressBar();
  const deadline = Date.now() + PATIENCE_MS;
  let job = first;
  while (!CLOSED.has(job.status)) {
    if (Date.now() > deadline) throw new Error(`the import was not done after ${PATIENCE_MS / 1000} s`);
    bar(job.progress.percent ?? 0, job.status);
    await new Promise((resolve) => setTimeout(resolve, 100));
    job = await client.get<ImportJob>(`/imports/${job.id}`);
  }
  bar(100, job.status, true);
  return job;
}

/** Redrawn in place on a terminal; elsewhere one line for each change of status. */
function progressBar(): (percent: number, status: string, last?: boolean) => void {
  let shown = "";
  return (percent, status, last = false) => {
    const filled = Math.round(percent * 0.3);
    const line = `  [${"#".repeat(filled)}${"-".repeat(30 - filled)}] ${String(Math.round(percent)).padStart(3)} %  ${status}`;
    if (process.stdout.isTTY) process.stdout.write(`\r${line.padEnd(70)}${last ? "\n" : ""}`);
    else if (status !== shown) console.log(line);
    shown = status;
  };
}

function printLedger({ counts, duplicate, skipped, rejected }: ImportJob): void {
  const line = (
    sign: string,
    name: string,
    count: number,
    reasons: Readonly<Record<string, number>> = {},
  ): void => {
    const why = Object.entries(reasons).map(([reason, n]) => `${reason} ${n}`);
    console.log(`  ${sign} ${name.padEnd(10)}${String(count).padStart(5)}   ${why.join(", ")}`.trimEnd());
  };
  line(" ", "read", counts.read);
  line("=", "inserted", counts.inserted);
  line("+", "duplicate", counts.duplicate, duplicate);
  line("+", "skipped", counts.skipped, skipped);
  line("+", "rejected", counts.rejected, rejected);
}

/** The archive is known row by row, so the demo can say whether the numbers are right. */
function checkLedger({ counts, duplicate, skipped, rejected }: ImportJob): void {
  const { kept, repeats } = SPOTIFY_SAMPLE;
  // A history that has the archive already, from an earlier run, takes nothing of it again.
  const again = counts.inserted === 0;
  const got = {
    read: counts.read,
    sum: counts.inserted + counts.duplicate + counts.skipped + counts.rejected,
    inserted: counts.inserted,
    duplicate: sorted(duplicate),
    skipped: sorted(skipped),
    rejected: sorted(rejected),
  };
  const wanted = {
    read: SPOTIFY_SAMPLE.read,
    sum: SPOTIFY_SAMPLE.read,
    inserted: again ? 0 : kept,
    duplicate: again ? [["already_there", kept + repeats]] : [["same_row", repeats]],
    skipped: sorted(SPOTIFY_SAMPLE.skipped),
    rejected: sorted(SPOTIFY_SAMPLE.rejected),
  };
  if (JSON.stringify(got) !== JSON.stringify(wanted)) {
    throw new Error(
      `the ledger is wrong:\n  got    ${JSON.stringify(got)}\n  wanted ${JSON.stringify(wanted)}`,
    );
  }
  const note = again ? "; the history had all plays from an earlier run" : "";
  console.log(`  The sum holds, and every number is the one this archive was made with${note}.`);
}

const sorted = (reasons: Readonly<Record<string, number>>): [string, number][] =>
  Object.entries(reasons).sort(([a], [b]) => (a < b ? -1 : 1));

async function printRows(client: DemoClient, job: ImportJob): Promise<void> {
  console.log("\nRows left out, each with its reason");
  for (const verdict of ["rejected", "skipped"]) {
    for (const row of await client.all<LedgerRow>(`/imports/${job.id}/rows?verdict=${verdict}`)) {
      const place = `${path.basename(row.part)} position ${row.position}`;
      console.log(
        `  ${row.verdict.padEnd(8)} ${row.reason.padEnd(9)} ${place}${row.message ? ` – ${row.message}` : ""}`,
      );
    }
  }
}

async function printHistory(client: DemoClient): Promise<void> {
  const listens = await client.all<Listen>("/listening-history");
  const plays = new Map<string, { plays: number; ms: number }>();
  for (const listen of listens.filter((one) => one.counted)) {
    const sum = plays.get(listen.artist.name) ?? { plays: 0, ms: 0 };
    plays.set(listen.artist.name, { plays: sum.plays + 1, ms: sum.ms + (listen.msPlayed ?? 0) });
  }
  console.log("\nTop artists");
  const top = [...plays].sort(([, a], [, b]) => b.plays - a.plays || b.ms - a.ms).slice(0, 5);
  for (const [index, [name, sum]] of top.entries()) {
    const time = `${Math.round(sum.ms / 60_000)} min`;
    console.log(`  ${index + 1}. ${name}  ${sum.plays} plays, ${time}`);
  }
  console.log(`\nLast plays of ${listens.length}`);
  for (const { playedAt, track, artist } of listens.slice(0, 5)) {
    console.log(`  ${playedAt.slice(0, 16).replace("T", " ")}  ${track.title} – ${artist.name}`);
  }
}
