/**
 * A made-up day of listeners who read their histories, as a list of steps in time order; the same for the same seed. No
 * public trace of such an api exists, so the numbers below are assumptions, chosen to be plain rather than kind.
 */
import { random } from "./spotifyArchive.js";

export type Reading =
  | "me" // who am I: each time an app is opened
  | "first" // the first page
  | "refresh" // the same each minute while the app is open, with the tag of the last answer
  | "widget" // ten plays each minute around the clock, with the tag of the last answer
  | "artist" // the first page of one artist
  | "month" // the first page of one month
  | "show" // one play out of the page that was seen last
  | "next" // the page after the first
  | "friend" // somebody's public profile and history: two requests
  | "imports"; // the list of imports

export type Step =
  | { readonly minute: number; readonly user: number; readonly kind: Reading; readonly pick: number }
  | {
      readonly minute: number;
      readonly user: number;
      readonly kind: "play" | "profile";
      readonly pick: number;
    };

const DAY_MINUTES = 24 * 60;
/** Every so many listeners one has a widget. */
const WIDGET_EVERY = 6;
const WIDGET_MINUTES = 1;
/** How likely each is in a visit. */
const CHANCES: readonly (readonly [Reading, number])[] = [
  ["artist", 0.25],
  ["month", 0.2],
  ["show", 0.3],
  ["next", 0.3],
  ["friend", 0.1],
  ["imports", 0.1],
];
/** While they listen a play is added every four minutes, for an hour, in every other visit. */
const LISTENS_CHANCE = 0.5;
const PLAY_MINUTES = 4;
const LISTENING_MINUTES = 60;
const PROFILE_CHANCE = 0.01;

/** The first listeners come most often: ten visits a day, the last once or twice. */
export function readMix(listeners: number, seed = 1): Step[] {
  const next = random(seed);
  const steps: Step[] = [];
  const add = (minute: number, user: number, kind: Step["kind"]): void => {
    steps.push({ minute, user, kind, pick: Math.floor(next() * 1e6) });
  };
  for (let user = 0; user < listeners; user += 1) {
    const visits = Math.max(1, Math.round(10 / (user + 1) ** 0.4));
    for (let visit = 0; visit < visits; visit += 1) {
      const start = next() * (DAY_MINUTES - LISTENING_MINUTES);
      add(start, user, "me");
      add(start + 0.01, user, "first");
      for (const [kind, chance] of CHANCES) if (next() < chance) add(start + 0.1 + next(), user, kind);
      const open = Math.floor(next() * 10); // minutes
      for (let minute = 1; minute <= open; minute += 1) add(start + minute, user, "refresh");
      if (next() < LISTENS_CHANCE) {
        for (let minute = next() * PLAY_MINUTES; minute < LISTENING_MINUTES; minute += PLAY_MINUTES)
          add(start + minute, user, "play");
      }
      if (next() < PROFILE_CHANCE) add(start + next() * 5, user, "profile");
    }
    if (user % WIDGET_EVERY === 0) {
      for (let minute = next() * WIDGET_MINUTES; minute < DAY_MINUTES; minute += WIDGET_MINUTES)
        add(minute, user, "widget");
    }
  }
  return steps.sort((a, b) => a.minute - b.minute);
}

/**
 * Statements for sessions that a real day would have and a replay in seconds does not: copies of a session end, and the
 * next request reads it again.
 */
export function sessionReads(steps: readonly Step[], copyMinutes: number): number {
  const readAt = new Map<number, number>();
  let reads = 0;
  for (const { minute, user, kind } of steps) {
    if (kind === "play" || kind === "profile") continue;
    if (minute - (readAt.get(user) ?? -Infinity) < copyMinutes) continue;
    readAt.set(user, minute);
    reads += 1;
  }
  return reads - readAt.size; // the first of each is in the replay
}
