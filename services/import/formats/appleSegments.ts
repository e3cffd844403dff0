/**
 * One listen is often several rows: a pause ends one, and so does dragging the position. Which rows belong together is
 * told from all rows of the file in the order of their ends, whatever order the file has them in.
 */
import { hash } from "node:crypto";
import { ImportError } from "../verdicts.js";

export interface Segment {
  /** Index of its record. */
  readonly position: number;
  /** `start`: the row of an event that says that a song began, and nothing of its end. */
  readonly kind: "end" | "start";
  /** Artist, title and album as the row has them. */
  readonly song: readonly string[];
  /** Unix milliseconds; null where the row has none. */
  readonly startMs: number | null;
  /** Of `start` rows their start. */
  readonly endMs: number;
  readonly msPlayed: number | null;
  readonly durationMs: number | null;
  readonly startPosition: number | null;
  readonly endPosition: number | null;
  readonly reasonEnd: string;
}

/** What a row stands for. `continuation`: part of an earlier one. `announced`: the start of a play with a row of its own. */
export type Listen =
  | { readonly role: "continuation" | "announced" }
  | {
      readonly role: "whole";
      /** Of its last row. */
      readonly endMs: number;
      /** Of all its rows; rows with less than nothing count as nothing. */
      readonly msPlayed: number | null;
      readonly reasonEnd: string;
    };

/** 80 bytes each. The longest history seen has 300,000 rows. */
export const MAX_SEGMENTS = 1_000_000;

const JOINING = new Set(["PLAYBACK_MANUALLY_PAUSED", "SCRUB_BEGIN", "SCRUB_END"]);
const LONGEST_PAUSE_MS = 30 * 60 * 1000;
/** For a song whose length is not known. */
const USUAL_LENGTH_MS = 10 * 60 * 1000;
const NONE = -(2 ** 31);
const MAX_REASONS = 250;
const LONGEST_PLAY_MS = 2 ** 31 - 1;

const WHOLE = 0;
const CONTINUATION = 1;
const ANNOUNCED = 2;

export class Segments {
  readonly #times = new Grid(Float64Array, ["end", "start", "song", "lastEnd"]);
  readonly #numbers = new Grid(Int32Array, [
    "position",
    "ms",
    "duration",
    "startAt",
    "endAt",
    "reason",
    "isStart",
    "head",
    "role",
    "total",
    "lastReason",
  ]);
  readonly #reasons: string[] = [];
  #count = 0;

  constructor(private readonly maxSegments = MAX_SEGMENTS) {}

  /** In order of position. Throws ImportError `resource_limit`. */
  add(segment: Segment): void {
    if (this.#count >= this.maxSegments)
      throw new ImportError("resource_limit", `The file has more than ${this.maxSegments} plays`);
    const at = this.#count;
    this.#count += 1;
    this.#times.grow(this.#count);
    this.#numbers.grow(this.#count);
    const times = this.#times.columns;
    const numbers = this.#numbers.columns;
    times.end[at] = times.lastEnd[at] = segment.endMs;
    times.start[at] = segment.startMs ?? -1;
    times.song[at] = songNumber(segment.song);
    numbers.position[at] = segment.position;
    numbers.ms[at] = numbers.total[at] = segment.msPlayed ?? NONE;
    numbers.duration[at] = segment.durationMs ?? NONE;
    numbers.startAt[at] = segment.startPosition ?? NONE;
    numbers.endAt[at] = segment.endPosition ?? NONE;
    numbers.reason[at] = numbers.lastReason[at] = this.#reasonNumber(segment.reasonEnd);
    numbers.isStart[at] = segment.kind === "start" ? 1 : 0;
    numbers.head[at] = at;
    numbers.role[at] = WHOLE;
  }

  /** Decides about all rows; none may be added any more. */
  join(): void {
    const order = this.#order();
    this.#joinRows(order);
    this.#findAnnounced(order);
  }

  /** Of the record at `position`; undefined for one that was not added. */
  at(position: number): Listen | undefined {
    const { position: positions, role, head, total, lastReason } = this.#numbers.columns;
    let [low, high] = [0, this.#count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (positions[middle]! < position) low = middle + 1;
      else high = middle;
    }
    if (this.#count === 0 || positions[low] !== position) return undefined;
    if (role[low] === CONTINUATION) return { role: "continuation" };
    if (role[low] === ANNOUNCED) return { role: "announced" };
    const first = head[low]!;
    return {
      role: "whole",
      endMs: this.#times.columns.lastEnd[first]!,
      msPlayed: total[first] === NONE ? null : Math.max(0, total[first]!),
      reasonEnd: this.#reasons[lastReason[first]!] ?? "",
    };
  }

  #order(): Uint32Array {
    const { end, start, song } = this.#times.columns;
    const { startAt, endAt, ms, position } = this.#numbers.columns;
    const order = Uint32Array.from({ length: this.#count }, (_, index) => index);
    return order.sort(
      (a, b) =>
        end[a]! - end[b]! ||
        start[a]! - start[b]! ||
        song[a]! - song[b]! ||
        startAt[a]! - startAt[b]! ||
        endAt[a]! - endAt[b]! ||
        ms[a]! - ms[b]! ||
        position[a]! - position[b]!,
    );
  }

  #joinRows(order: Uint32Array): void {
    const { lastEnd, end } = this.#times.columns;
    const { head, role, total, ms, lastReason, reason, isStart } = this.#numbers.columns;
    let before = -1;
    for (const row of order) {
      if (isStart[row] === 1) continue;
      if (before >= 0 && this.#isSame(before, row)) {
        head[row] = head[before]!;
        role[row] = role[before]!;
      } else if (before >= 0 && this.#continues(before, row)) {
        const first = head[before]!;
        head[row] = first;
        role[row] = CONTINUATION;
        lastEnd[first] = end[row]!;
        lastReason[first] = reason[row]!;
        const sum = Math.max(0, total[first]!) + Math.max(0, ms[row]!);
        if (total[first] !== NONE || ms[row] !== NONE) total[first] = Math.min(sum, LONGEST_PLAY_MS);
      }
      before = row;
    }
  }

  /** A row written down twice is one row. */
  #isSame(a: number, b: number): boolean {
    const { end, start, song } = this.#times.columns;
    const { startAt, endAt, ms } = this.#numbers.columns;
    return [end, start, song, startAt, endAt, ms].every((column) => column[a] === column[b]);
  }

  #continues(a: number, b: number): boolean {
    const { end, start, song } = this.#times.columns;
    const { startAt, endAt, reason } = this.#numbers.columns;
    const began = start[b]! < 0 ? end[b]! : start[b]!;
    return (
      song[a] === song[b] &&
      endAt[a] !== NONE &&
      endAt[a] === startAt[b] &&
      JOINING.has(this.#reasons[reason[a]!] ?? "") &&
      began - end[a]! <= LONGEST_PAUSE_MS
    );
  }

  /** Backwards, so that the next end of each song is known. */
  #findAnnounced(order: Uint32Array): void {
    const { end, song } = this.#times.columns;
    const { isStart, duration, role } = this.#numbers.columns;
    const nextEnd = new Map<number, number>();
    for (const row of order.reverse()) {
      if (isStart[row] !== 1) {
        nextEnd.set(song[row]!, end[row]!);
        continue;
      }
      const length = duration[row]! > 0 ? duration[row]! : USUAL_LENGTH_MS;
      const ended = nextEnd.get(song[row]!);
      if (ended !== undefined && ended - end[row]! <= length + LONGEST_PAUSE_MS) role[row] = ANNOUNCED;
    }
  }

  #reasonNumber(reason: string): number {
    const known = this.#reasons.indexOf(reason);
    if (known >= 0 || this.#reasons.length >= MAX_REASONS) return known;
    return this.#reasons.push(reason) - 1;
  }
}

/** 52 bits: two songs of one history that share them would be a wonder. */
const songNumber = (song: readonly string[]): number =>
  parseInt(hash("sha256", JSON.stringify(song)).slice(0, 13), 16);

type Numbers = Float64Array | Int32Array;

/** Columns of numbers that grow together. */
class Grid<T extends Numbers, Name extends string> {
  readonly columns: Record<Name, T>;
  #size = 1024;

  constructor(
    private readonly kind: new (length: number) => T,
    private readonly names: readonly Name[],
  ) {
    this.columns = Object.fromEntries(names.map((name) => [name, new kind(this.#size)])) as Record<Name, T>;
  }

  grow(size: number): void {
    if (size <= this.#size) return;
    this.#size *= 2;
    for (const name of this.names) {
      const wider = new this.kind(this.#size);
      wider.set(this.columns[name]);
      this.columns[name] = wider;
    }
  }
}
