/** Gathers judged records into batches, and decides where one ends. */
import type { JudgedRecord } from "../judge.js";
import { ImportError } from "../verdicts.js";
import type { BatchRef, JudgedBatch, PlayRecord, RejectedRecord, SkippedRecord } from "./batch.js";

/** Where a batch that is in begins, and how many records it has. */
export interface Marker {
  readonly batchNo: number;
  readonly firstPosition: number;
  readonly read: number;
}

export interface BatchLimits {
  /** Records in a batch. */
  readonly rows: number;
  /** UTF-16 units of text after which a batch ends early. */
  readonly chars: number;
}

/** Of columns of type integer. */
const LAST_POSITION = 2 ** 31 - 1;

/**
 * A batch ends after `rows` records, or with the record that brings its texts to `chars`: a function of the file, the
 * job and a setting. Batches that have their markers end where those say, whatever the setting was by then.
 */
export class BatchBuilder {
  #batchNo = 0;
  #firstPosition = 0;
  #records = 0;
  #chars = 0;
  #plays: PlayRecord[] = [];
  #skipped: SkippedRecord[] = [];
  #rejected: RejectedRecord[] = [];
  readonly #marked: readonly Marker[];

  /** `markers`: in order; those after a gap, which nothing should ever leave, count for nothing. */
  constructor(
    private readonly part: Omit<BatchRef, "batchNo" | "firstPosition">,
    private readonly limits: BatchLimits,
    markers: readonly Marker[],
  ) {
    let next = 0;
    const gap = markers.findIndex(({ batchNo, firstPosition, read }, index) => {
      const follows = batchNo === index && firstPosition === next;
      next += read;
      return !follows;
    });
    this.#marked = gap < 0 ? markers : markers.slice(0, gap);
  }

  get batchNo(): number {
    return this.#batchNo;
  }

  /** True while the records that come next are in: they are passed, not judged again. */
  get isMarked(): boolean {
    return this.#batchNo < this.#marked.length;
  }

  get isFull(): boolean {
    const marker = this.#marked[this.#batchNo];
    if (marker !== undefined) return this.#records >= marker.read;
    return this.#records >= this.limits.rows || this.#chars >= this.limits.chars;
  }

  /** Counts a record of a batch that is in. */
  pass(): void {
    this.#records += 1;
  }

  add(record: JudgedRecord): void {
    this.#records += 1;
    switch (record.verdict) {
      case "play":
        this.#chars += lengthOfPlay(record);
        this.#plays.push(record);
        break;
      case "skipped":
        this.#chars += lengthOfRow(record);
        this.#skipped.push(record);
        break;
      case "rejected":
        this.#chars += lengthOfRow(record);
        this.#rejected.push(record);
        break;
    }
  }

  /**
   * Ends the batch and begins the next; null when it has no record, or is in. Throws ImportError: `storage_lost` when
   * a batch that is in had more records than the file now has, `resource_limit` when positions have no room any more.
   */
  take(bytesRead: number): JudgedBatch | null {
    const marker = this.#marked[this.#batchNo];
    if (this.#records === 0) return null;
    if (marker !== undefined && marker.read !== this.#records)
      throw new ImportError("storage_lost", "The stored upload has changed");
    if (this.#firstPosition + this.#records - 1 > LAST_POSITION)
      throw new ImportError("resource_limit", `The file has more than ${LAST_POSITION} records`);
    const batch =
      marker !== undefined
        ? null
        : {
            ...this.part,
            batchNo: this.#batchNo,
            firstPosition: this.#firstPosition,
            plays: this.#plays,
            skipped: this.#skipped,
            rejected: this.#rejected,
            bytesRead,
          };
    this.#batchNo += 1;
    this.#firstPosition += this.#records;
    [this.#plays, this.#skipped, this.#rejected, this.#records, this.#chars] = [[], [], [], 0, 0];
    return batch;
  }
}

/** Only names can be long: a play's other texts are short by the rules of its format. */
const lengthOfPlay = ({ play }: PlayRecord): number =>
  play.title.length + play.artist.length + (play.album?.length ?? 0);

const lengthOfRow = (row: { readonly message: string; readonly excerpt: string | null }): number =>
  row.message.length + (row.excerpt?.length ?? 0);
