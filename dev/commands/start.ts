/** `npm start`: everything, until it is told to stop. */
import { existsSync } from "node:fs";
import { type App, startApp } from "../app.js";
import { onEnding } from "../endings.js";

export async function run(): Promise<void> {
  await runApp((app) => {
    announce(app, [STOP_HINT]);
    return Promise.resolve("stay");
  });
}

export const STOP_HINT = "  Stop with Ctrl-C";

/** The first line is one for machines to wait for; the others come with it, in one piece. */
export function announce(app: App, more: readonly string[]): void {
  const lines = [
    `playlog ready: ${app.url}`,
    `  API docs     ${app.docsUrl}`,
    ...(app.temporalUiUrl === undefined ? [] : [`  Temporal UI  ${app.temporalUiUrl}`]),
    `  Metrics      ${app.metricsUrls.join("  ")}`,
    `  Data, logs   ${app.home}`,
    ...more,
  ];
  console.log(lines.join("\n"));
}

/**
 * Starts playlog, calls `whenReady`, and stops playlog in order when a person or the system says so, or when
 * `whenReady` answers "leave". Ends this process: with 0 after an orderly stop, with 1 after a failure.
 */
export async function runApp(whenReady: (app: App) => Promise<"stay" | "leave">): Promise<void> {
  if (existsSync(".env")) process.loadEnvFile(".env");
  const abort = new AbortController();
  const ended = new Promise<string>((resolve) => {
    onEnding((reason) => {
      abort.abort();
      resolve(reason);
    });
  });
  let app: App;
  try {
    app = await startApp(process.env, (text) => console.log(text), abort.signal);
  } catch (error) {
    if (abort.signal.aborted) process.exit(0);
    console.error(`playlog could not start: ${(error as Error).message}`);
    process.exit(1);
  }
  const never = new Promise<never>(() => undefined);
  const { why, code } = await Promise.race([
    ended.then((reason) => ({ why: `Stopping (${reason})`, code: 0 })),
    app.broken.then(() => ({ why: "The keeper of the servers has died; stopping", code: 1 })),
    whenReady(app).then(
      (next) => (next === "leave" ? { why: "Stopping", code: 0 } : never),
      (error: unknown) => ({ why: `${(error as Error).message}; stopping`, code: 1 }),
    ),
  ]);
  console.log(why);
  await app.stop();
  process.exit(code);
}
