/**
 * How much one user may upload: imports in 24 hours, and bytes of uploads that are kept. PostgreSQL knows what is
 * there; what is still coming in is known only to the process that receives it, so a user who spreads uploads over
 * several api processes may pass a limit by as much as is under way in the others at that moment.
 */
import type { Pool } from "pg";
import { TooManyRequestsError } from "../../utils/errors.js";

export interface QuotaOptions {
  readonly pool: Pool;
  readonly uploadsPerDay: number;
  readonly spoolMaxBytes: number;
}

/** Room that uploads under way take may be free again any moment. */
const RETRY_SOON_SECONDS = 10;
/** Nobody knows when an import that is under way lets go of its upload. */
const RETRY_LATER_SECONDS = 60;

interface Used {
  /** Imports created in the last 24 hours, counted up to the limit. */
  readonly today: number;
  /** Until the oldest of those counted is older than that. */
  readonly nextUploadSeconds: number;
  readonly keptBytes: number;
  /** Until the next kept upload is deleted. */
  readonly nextRoomSeconds: number;
}

/** One upload between its first byte and its import. */
export interface Admission {
  /** Tells how much of the file has come; the error, if that is more than the user has room for. */
  received(fileBytes: number): TooManyRequestsError | null;
  /** Looks once more, when the whole file is there. Throws what `UploadQuotas.run` throws. */
  confirm(fileBytes: number): Promise<void>;
}

interface UnderWay {
  bytes: number;
}

export class UploadQuotas {
  readonly #options: QuotaOptions;
  readonly #underWay = new Map<string, Set<UnderWay>>();

  constructor(options: QuotaOptions) {
    this.#options = options;
  }

  /**
   * Runs `work`, which receives one upload and makes an import of it, if the user has room for it.
   * `announcedBytes` is the least the file can have, 0 when the client does not say. Throws `TooManyRequestsError`:
   * `too_many_uploads` or `upload_quota`.
   */
  async run<T>(
    userId: string,
    announcedBytes: number,
    work: (admission: Admission) => Promise<T>,
  ): Promise<T> {
    const used = await this.#used(userId);
    // From here to `add` nothing waits: no other upload of this process can take the same room.
    const others = this.#underWay.get(userId) ?? new Set<UnderWay>();
    this.#checkDay(used, others.size);
    const overQuota = this.#overQuota(used, announcedBytes + bytesOf(others), others.size);
    if (overQuota !== null) throw overQuota;

    const own: UnderWay = { bytes: announcedBytes };
    this.#underWay.set(userId, others.add(own));
    try {
      return await work({
        received: (fileBytes) => {
          own.bytes = Math.max(own.bytes, fileBytes);
          const refusal = this.#overQuota(used, bytesOf(others), others.size - 1);
          if (refusal !== null) others.delete(own); // of two that do not fit together, one does
          return refusal;
        },
        confirm: async (fileBytes) => {
          // The others are not counted here: they are measured against this one while they come in.
          const now = await this.#used(userId);
          this.#checkDay(now, 0);
          const refusal = this.#overQuota(now, fileBytes, 0);
          if (refusal !== null) throw refusal;
        },
      });
    } finally {
      others.delete(own);
      if (others.size === 0) this.#underWay.delete(userId);
    }
  }

  #checkDay(used: Used, underWay: number): void {
    const { uploadsPerDay } = this.#options;
    if (used.today + underWay < uploadsPerDay) return;
    const seconds = used.today < uploadsPerDay ? RETRY_SOON_SECONDS : used.nextUploadSeconds;
    throw new TooManyRequestsError(
      seconds,
      `At most ${uploadsPerDay} uploads in 24 hours`,
      "too_many_uploads",
    );
  }

  #overQuota(used: Used, comingBytes: number, others: number): TooManyRequestsError | null {
    const { spoolMaxBytes } = this.#options;
    if (used.keptBytes + comingBytes <= spoolMaxBytes) return null;
    const seconds = others > 0 ? RETRY_SOON_SECONDS : used.nextRoomSeconds;
    const message = `Your uploads may take ${spoolMaxBytes} bytes in all; each is kept for a while after its import`;
    return new TooManyRequestsError(seconds, message, "upload_quota");
  }

  async #used(userId: string): Promise<Used> {
    const { uploadsPerDay, pool } = this.#options;
    const { rows } = await pool.query<{
      today: number;
      next_upload: number | null;
      kept_bytes: number;
      next_room: number | null;
    }>({
      name: "upload-quotas",
      text: `
        with today as (
          select created_at from import_jobs
           where user_id = $1 and kind = 'file' and created_at > now() - interval '24 hours'
           order by created_at desc limit $2
        )
        select (select count(*) from today)::bigint as today,
               (select extract(epoch from min(created_at) + interval '24 hours' - now()) from today)::float8 as next_upload,
               coalesce(sum(size_bytes), 0)::bigint as kept_bytes,
               extract(epoch from min(blob_delete_after) - now())::float8 as next_room
          from import_jobs
         where user_id = $1 and blob_key is not null`,
      values: [userId, uploadsPerDay],
    });
    const [row] = rows;
    return {
      today: row?.today ?? 0,
      nextUploadSeconds: row?.next_upload ?? RETRY_LATER_SECONDS,
      keptBytes: row?.kept_bytes ?? 0,
      nextRoomSeconds: Math.max(row?.next_room ?? 0, RETRY_LATER_SECONDS),
    };
  }
}

function bytesOf(uploads: ReadonlySet<UnderWay>): number {
  let sum = 0;
  for (const { bytes } of uploads) sum += bytes;
  return sum;
}
