/** Changing one's own listening history: plays told by hand, corrections, deletions. See docs/adr/0014. */
import type pg from "pg";
import { listenById } from "../../db/queries/listeningHistory.js";
import { NotFoundError, ValidationError } from "../../utils/errors.js";
import { type CheckState, editPlay } from "./editing.js";
import type { ManualPlay, PlayChanges } from "./manualPlays.js";
import { Places } from "./places.js";
import { type Recorded, recordPlays } from "./recording.js";
import { removePlay, unlinkPlay } from "./removing.js";

export interface RecordedPlay {
  /** False: the play was there already. */
  readonly created: boolean;
  readonly id: number;
  /** As JSON text, as its owner sees it. */
  readonly item: string;
}

export class HistoryEditor {
  readonly #pool: pg.Pool;
  readonly #places: Places;

  constructor({ pool }: { readonly pool: pg.Pool }) {
    this.#pool = pool;
    this.#places = new Places(pool);
  }

  /** Also a play that was deleted: who tells of it again wants it back. Throws `ValidationError` for unknown ids. */
  async record(userId: string, play: ManualPlay): Promise<RecordedPlay> {
    const [verdict] = await this.#record(userId, [play], true);
    if (verdict?.status === "rejected") {
      throw new ValidationError(verdict.errors[0]?.message ?? "The play is refused", verdict.errors);
    }
    const id = verdict?.id ?? 0;
    const found = await listenById(this.#pool, id, userId);
    if (found === null) throw new NotFoundError(); // deleted in this very moment
    return { created: verdict?.status === "created", id, item: found.item };
  }

  /** Verdicts in order of `plays`. A play that was deleted stays so: lists are sent again and again, by programs. */
  recordMany(userId: string, plays: readonly ManualPlay[]): Promise<readonly Recorded[]> {
    return this.#record(userId, plays, false);
  }

  /**
   * The play as JSON text, corrected. Throws `NotFoundError` for a play that is not there or another's,
   * `ValidationError` for unknown ids, and what `check` throws.
   */
  edit(userId: string, id: number, changes: PlayChanges, check: CheckState): Promise<string> {
    return editPlay({ pool: this.#pool, places: this.#places }, userId, id, changes, check);
  }

  /** See removing.ts. */
  remove(userId: string, id: number, check: CheckState): Promise<void> {
    return removePlay(this.#pool, userId, id, check);
  }

  unlink(userId: string, id: number, check: CheckState): Promise<string> {
    return unlinkPlay(this.#pool, userId, id, check);
  }

  #record(userId: string, plays: readonly ManualPlay[], despiteDeletion: boolean): Promise<Recorded[]> {
    const deps = { pool: this.#pool, places: this.#places };
    return recordPlays(deps, userId, plays, { despiteDeletion });
  }
}
