/**
 * One listen is often several rows: a pause ends one, and so does dragging the position. Which rows belong together is
 * told from all rows of the file in the order of their ends, whatever order the file has them in.
 */
import { hash } from "node:crypto";
import { ownText } from "../../../utils/ownText.js";
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

/** Some 60 bytes each until they are joined, then half of it. The longest history seen has 300,000 rows. */
export const MAX_SEGMENTS = 1_000_000;

const JOINING = new Set(["PLAYBACK_MANUALLY_PAUSED", "SCRUB_BEGIN", "SCRUB_END"]);
const LONGEST_PAUSE_MS = 30 * 60 * 1000;
/** For a song whose length is not known. */
const USUAL_LENGTH_MS = 10 * 60 * 1000;
const NONE = -(2 ** 31);
const MAX_REASONS = 250;
const OTHER_REASON = 255;
const LONGEST_PLAY_MS = 2 ** 31 - 1;

const WHOLE = 0;
const CONTINUATION = 1;
const ANNOUNCED = 2;

export class Segments {
  readonly #reasons: string[] = [];
  #count = 0;

  readonly #position = new Column(Int32Array);
  readonly #end = new Column(Float64Array);
  readonly #reason = new Column(Uint8Array);
  readonly #role = new Column(Uint8Array);
  /** Of rows that are one listen, its first. */
  readonly #head = new Column(Int32Array);
  /** Of a first row, the last of its listen. */
  readonly #last = new Column(Int32Array);
  /** Of a first row, once another was joined to it, the sum of its listen. */
  readonly #ms = new Column(Int32Array);
  /** Null once it has served. */
  #joining: Joining | null = {
    start: new Column(Float64Array),
    song: new Column(Float64Array),
    duration: new Column(Int32Array),
    startAt: new Column(Int32Array),
    endAt: new Column(Int32Array),
    isStart: new Column(Uint8Array),
  };

  constructor(private readonly maxSegments = MAX_SEGMENTS) {}

  /** In order of position. Throws ImportError `resource_limit`. */
  add(segment: Segment): void {
    if (this.#count >= this.maxSegments)
      throw new ImportError("resource_limit", `The file has more than ${this.maxSegments} plays`);
    const { start, song, duration, startAt, endAt, isStart } = this.#undecided();
    const at = this.#count;
    this.#count += 1;
    this.#position.set(at, segment.position);
    this.#end.set(at, segment.endMs);
    this.#reason.set(at, this.#reasonNumber(segment.reasonEnd));
    this.#role.set(at, WHOLE);
    this.#head.set(at, at);
    this.#last.set(at, at);
    this.#ms.set(at, segment.msPlayed ?? NONE);
    start.set(at, segment.startMs ?? -1);
    song.set(at, songNumber(segment.song));
    duration.set(at, segment.durationMs ?? NONE);
    startAt.set(at, segment.startPosition ?? NONE);
    endAt.set(at, segment.endPosition ?? NONE);
    isStart.set(at, segment.kind === "start" ? 1 : 0);
  }

  /** Decides about all rows; none may be added any more. */
  join(): void {
    const joining = this.#undecided();
    const order = this.#order(joining);
    this.#joinRows(order, joining);
    this.#findAnnounced(order, joining);
    this.#joining = null;
  }

  /** Of the record at `position`; undefined for one that was not added. */
  at(position: number): Listen | undefined {
    let [low, high] = [0, this.#count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#position.get(middle) < position) low = middle + 1;
      else high = middle;
    }
    if (this.#count === 0 || this.#position.get(low) !== position) return undefined;
    const role = this.#role.get(low);
    if (role === CONTINUATION) return { role: "continuation" };
    if (role === ANNOUNCED) return { role: "announced" };
    const first = this.#head.get(low);
    const last = this.#last.get(first);
    const total = this.#ms.get(first);
    return {
      role: "whole",
      endMs: this.#end.get(last),
      msPlayed: total === NONE ? null : Math.max(0, total),
      reasonEnd: this.#reasonOf(last),
    };
  }

  #undecided(): Joining {
    if (this.#joining === null) throw new TypeError("The rows are joined");
    return this.#joining;
  }

  #order({ start, song, startAt, endAt }: Joining): Uint32Array {
    const inOrder = [this.#end, start, song, startAt, endAt, this.#ms, this.#position];
    const order = new Uint32Array(this.#count).map((_, index) => index);
    return order.sort((a, b) => {
      for (const column of inOrder) {
        const difference = column.get(a) - column.get(b);
        if (difference !== 0) return difference;
      }
      return 0;
    });
  }

  #joinRows(order: Uint32Array, joining: Joining): void {
    let before = -1;
    for (const row of order) {
      if (joining.isStart.get(row) === 1) continue;
      if (before >= 0 && this.#isSame(before, row, joining)) {
        this.#head.set(row, this.#head.get(before));
        this.#role.set(row, this.#role.get(before));
      } else if (before >= 0 && this.#continues(before, row, joining)) {
        const first = this.#head.get(before);
        this.#head.set(row, first);
        this.#role.set(row, CONTINUATION);
        this.#last.set(first, row);
        const [total, ms] = [this.#ms.get(first), this.#ms.get(row)];
        if (total !== NONE || ms !== NONE)
          this.#ms.set(first, Math.min(Math.max(0, total) + Math.max(0, ms), LONGEST_PLAY_MS));
      }
      before = row;
    }
  }

  /** A row written down twice is one row. Neither has a sum yet: a first row gets it with the next that is looked at. */
  #isSame(a: number, b: number, { start, song, startAt, endAt }: Joining): boolean {
    return [this.#end, start, song, startAt, endAt, this.#ms].every(
      (column) => column.get(a) === column.get(b),
    );
  }

  #continues(a: number, b: number, { start, song, startAt, endAt }: Joining): boolean {
    const began = start.get(b) < 0 ? this.#end.get(b) : start.get(b);
    return (
      song.get(a) === song.get(b) &&
      endAt.get(a) !== NONE &&
      endAt.get(a) === startAt.get(b) &&
      JOINING.has(this.#reasonOf(a)) &&
      began - this.#end.get(a) <= LONGEST_PAUSE_MS
    );
  }

  /** Backwards, so that the next end of each song is known. */
  #findAnnounced(order: Uint32Array, { song, duration, isStart }: Joining): void {
    const nextEnd = new Map<number, number>();
    for (const row of order.reverse()) {
      const end = this.#end.get(row);
      if (isStart.get(row) !== 1) {
        nextEnd.set(song.get(row), end);
        continue;
      }
      const length = duration.get(row) > 0 ? duration.get(row) : USUAL_LENGTH_MS;
      const ended = nextEnd.get(song.get(row));
      if (ended !== undefined && ended - end <= length + LONGEST_PAUSE_MS) this.#role.set(row, ANNOUNCED);
    }
  }

  #reasonOf(row: number): string {
    return this.#reasons[this.#reason.get(row)] ?? "";
  }

  #reasonNumber(reason: string): number {
    const known = this.#reasons.indexOf(reason);
    if (known >= 0) return known;
    return this.#reasons.length < MAX_REASONS ? this.#reasons.push(ownText(reason)) - 1 : OTHER_REASON;
  }
}

/** What is known of the rows until they are joined. */
type Joining = Readonly<
  Record<"start" | "song", Column<Float64Array>> &
    Record<"duration" | "startAt" | "endAt", Column<Int32Array>> &
    Record<"isStart", Column<Uint8Array>>
>;

/** 52 bits: two songs of one history that share them would be a wonder. */
const songNumber = (song: readonly string[]): number =>
  parseInt(hash("sha256", JSON.stringify(song)).slice(0, 13), 16);

/** In a block, 2 ** 14. */
const BLOCK_BITS = 14;
const BLOCK_ROWS = 2 ** BLOCK_BITS;

/** A number for each row. It grows by blocks: doubling one array would hold each row up to three times for a while. */
class Column<T extends Float64Array | Int32Array | Uint8Array> {
  readonly #blocks: T[] = [];

  constructor(private readonly kind: new (length: number) => T) {}

  get(row: number): number {
    return this.#blocks[row >> BLOCK_BITS]![row & (BLOCK_ROWS - 1)]!;
  }

  set(row: number, value: number): void {
    const block = (this.#blocks[row >> BLOCK_BITS] ??= new this.kind(BLOCK_ROWS));
    block[row & (BLOCK_ROWS - 1)] = value;
  }
}
