/**
 * Who imports gives way to who reads. On a machine with few processors an import keeps all of them busy, and each of the
 * four to six hops of a page waits for a time slice. So while somebody reads, the pieces of work of a worker take turns: one
 * batch is read and written, then one of another file, then a piece of the search index. One processor is free then.
 */

/** With more processors, two files at a time leave some of them to readers anyway. */
export const FEW_PROCESSORS = 3;
/** A turn is not waited for longer: whoever has it may be waiting for something else. */
const LONGEST_WAIT_MS = 5000;

/** Ends a turn; calling it again does nothing. */
export type EndTurn = () => void;

export class Pace {
  #last: Promise<void> = Promise.resolve();

  /**
   * @param isRead whether somebody reads
   * @param longestWaitMs for a turn
   */
  constructor(
    private readonly isRead: () => Promise<boolean>,
    private readonly longestWaitMs = LONGEST_WAIT_MS,
  ) {}

  /** Resolves when it is the caller's turn; at once, and with null, while nobody reads. */
  async turn(): Promise<EndTurn | null> {
    if (!(await this.isRead())) return null;
    const before = this.#last;
    let end!: EndTurn;
    this.#last = new Promise<void>((resolve) => (end = resolve));
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.longestWaitMs);
    });
    await Promise.race([before, patience]);
    clearTimeout(timer);
    return end;
  }
}
