/**
 * YouTube's history through Google's Data Portability: an archive is asked for, made by Google in minutes to days, and
 * fetched from signed addresses. Each call is one stage. The id of what was asked for is in the cursor before anything is
 * asked about it, so a crash finds it again. See docs/adr/0025.
 */
import { ProviderError, ReauthNeededError } from "../errors.js";
import type { ProviderDownload, ProviderResponse } from "../http/providerFetch.js";
import { archiveOf } from "./archiveFiles.js";
import { authorized, type Call, type Json, objectIn, wholeNumber } from "./calls.js";
import { quotaAsksToWait, refusalIn, timeIn } from "./googleErrors.js";
import type { ArchiveProvider, ArchiveRequest, ArchiveStage } from "./types.js";

const NAME = "Google";
const RESOURCES = ["myactivity.youtube"];
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Google asks for 5 to 60 minutes between questions; the first pause is a setting. */
const LONGEST_POLL_MS = 60 * MINUTE_MS;
/** The same days are asked for again: plays of devices that were offline turn up late. */
const OVERLAP_MS = 2 * DAY_MS;
/** As often as Google allows. */
const MOST_RETRIES = 3;
/** Archives that Google may still name: it keeps them for two weeks, and makes one a day. */
const REMEMBERED = 50;
const JOB_ID = /^[\w-]{1,200}$/;

interface Position {
  /** The archive that Google makes; null: none was asked for. */
  readonly jobId: string | null;
  /** When it was asked for, null where only Google knows; and how often it was asked about since. */
  readonly askedAt: number | null;
  readonly polls: number;
  /** How often Google was asked to try again. */
  readonly retries: number;
  /** When it was given up; null: it was not. */
  readonly failedAt: number | null;
  /** Archives that are done with: imported, failed or gone. The last of them is the newest. */
  readonly doneJobIds: readonly string[];
  /** When the archive that was imported last was asked for; null: none yet. */
  readonly knownUntil: number | null;
}

export interface GoogleAccess {
  readonly apiUrl: string;
  readonly download: ProviderDownload;
  /** Milliseconds from asking for an archive to the first question about it; each pause after that is twice as long. */
  readonly firstPollMs: number;
}

export function youtubeProvider(google: GoogleAccess, call: Call): ArchiveProvider {
  return {
    provider: "youtube",
    archive: (request) => new Stage(google, call, request, positionOf(request.cursor)).run(),
  };
}

class Stage {
  constructor(
    private readonly google: GoogleAccess,
    private readonly call: Call,
    private readonly request: ArchiveRequest,
    private readonly position: Position,
  ) {}

  async run(): Promise<ArchiveStage> {
    const { jobId, failedAt } = this.position;
    const { polledAt } = this.request;
    if (jobId === null) return this.#initiate();
    if (failedAt === null) return this.#poll(jobId);
    if (polledAt - failedAt < DAY_MS) throw new ProviderError("Google could not make the archive", false);
    return this.#initiate();
  }

  async #initiate(): Promise<ArchiveStage> {
    const { knownUntil } = this.position;
    const { polledAt } = this.request;
    const startTime =
      knownUntil === null ? {} : { startTime: new Date(knownUntil - OVERLAP_MS).toISOString() };
    const answer = await this.#ask("/v1/portabilityArchive:initiate", { resources: RESOURCES, ...startTime });
    if (answer.status === 200) return this.#asked(objectIn(answer, NAME)["archiveJobId"], polledAt);

    const refusal = refusalIn(answer);
    if (refusal === null) throw refused(answer);
    // One that was asked for by a worker that then died: its id comes back this way.
    const lost = refusal.jobIds.findLast((id) => !this.position.doneJobIds.includes(id));
    if (lost !== undefined) return this.#asked(lost, null);
    if (refusal.kind === "used up") {
      await this.#ask("/v1/authorization:reset", {});
      throw new ReauthNeededError("Google allowed one archive only: the account has to be connected again");
    }
    const until = refusal.kind === "too soon" ? refusal.until : polledAt + LONGEST_POLL_MS;
    return this.#wait(this.position, Math.max(until ?? polledAt + DAY_MS, polledAt));
  }

  #asked(jobId: unknown, askedAt: number | null): ArchiveStage {
    if (typeof jobId !== "string" || !JOB_ID.test(jobId)) {
      throw new ProviderError("Google did not say which archive it makes", false);
    }
    const fresh = { askedAt, polls: 0, retries: 0, failedAt: null };
    return this.#wait({ ...this.position, ...fresh, jobId }, this.request.polledAt + this.google.firstPollMs);
  }

  async #poll(jobId: string): Promise<ArchiveStage> {
    const answer = await this.#ask(`/v1/archiveJobs/${jobId}/portabilityArchiveState`);
    // Archives are kept for two weeks.
    if (answer.status === 404) {
      const position = { ...this.position, jobId: null, doneJobIds: this.#doneWith(jobId) };
      return this.#wait(position, this.request.polledAt);
    }
    if (answer.status !== 200) throw refused(answer);
    const { state, urls, exportTime } = objectIn(answer, NAME);
    switch (state) {
      case "IN_PROGRESS":
        return this.#notYet();
      case "COMPLETE":
        return this.#fetch(jobId, urls ?? [], timeIn(exportTime));
      case "FAILED":
      case "CANCELLED":
        return this.#again(jobId);
      default:
        throw new ProviderError("Google answered with a state that is not documented", false);
    }
  }

  #notYet(): ArchiveStage {
    const polls = this.position.polls + 1;
    const pause = Math.min(this.google.firstPollMs * 2 ** polls, LONGEST_POLL_MS);
    return this.#wait({ ...this.position, polls }, this.request.polledAt + pause);
  }

  /** Google makes a new archive of a failed one, under a new id. */
  async #again(jobId: string): Promise<ArchiveStage> {
    const { polledAt } = this.request;
    const { retries } = this.position;
    const doneJobIds = this.#doneWith(jobId);
    if (retries < MOST_RETRIES) {
      const answer = await this.#ask(`/v1/archiveJobs/${jobId}:retry`, {});
      const next = answer.status === 200 ? objectIn(answer, NAME)["archiveJobId"] : undefined;
      if (typeof next === "string" && JOB_ID.test(next)) {
        const position = { ...this.position, jobId: next, doneJobIds, polls: 0, retries: retries + 1 };
        return this.#wait(position, polledAt + this.google.firstPollMs);
      }
    }
    return this.#wait({ ...this.position, doneJobIds, failedAt: polledAt }, polledAt);
  }

  /** @param exportedAt up to when the archive has what there is, as Google says; null when it does not */
  async #fetch(jobId: string, urls: unknown, exportedAt: number | null): Promise<ArchiveStage> {
    if (!Array.isArray(urls) || !urls.every((url) => typeof url === "string")) {
      throw new ProviderError("Google answered with JSON of another shape than documented", false);
    }
    const { askedAt } = this.position;
    const times = [exportedAt, askedAt].filter((time) => time !== null);
    const cursor = cursorOf({
      ...positionOf(null),
      doneJobIds: this.#doneWith(jobId),
      knownUntil: times.length === 0 ? this.position.knownUntil : Math.min(...times, this.request.polledAt),
    });
    if (urls.length === 0) return { cursor, next: { kind: "done" } };
    const { signal, store } = this.request;
    const { filename, bytes } = archiveOf(urls, this.google.download, signal);
    try {
      return { cursor, next: { kind: "upload", filename, blob: await store(bytes) } };
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "PayloadTooLargeError") throw error;
      throw new ProviderError("The archive is larger than an upload may be", false, { cause: error });
    } finally {
      bytes.destroy();
    }
  }

  #doneWith(jobId: string): readonly string[] {
    return [...this.position.doneJobIds, jobId].slice(-REMEMBERED);
  }

  /** @param body undefined: a question, nothing is changed by it */
  #ask(path: string, body?: Json): Promise<ProviderResponse> {
    const { access, signal } = this.request;
    const url = `${this.google.apiUrl}${path}`;
    const content = body === undefined ? {} : { method: "POST" as const, body: JSON.stringify(body) };
    return authorized(access, (token) => {
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
      const request = { url, headers, signal, handles429: true, ...content };
      return this.call(request, access.connectionId, quotaAsksToWait);
    });
  }

  #wait(position: Position, until: number): ArchiveStage {
    return { cursor: cursorOf(position), next: { kind: "wait", until } };
  }
}

function refused(answer: ProviderResponse): Error {
  if (answer.status === 403)
    return new ReauthNeededError("Google does not let playlog read the account's history");
  return new ProviderError(`Google answered with status ${answer.status}`, answer.status >= 500);
}

const cursorOf = (position: Position): Json => ({ ...position });

function positionOf(cursor: ArchiveRequest["cursor"]): Position {
  const isId = (id: unknown): id is string => typeof id === "string" && JOB_ID.test(id);
  const { jobId, doneJobIds } = cursor ?? {};
  return {
    jobId: isId(jobId) ? jobId : null,
    askedAt: wholeNumber(cursor?.["askedAt"]),
    polls: wholeNumber(cursor?.["polls"]) ?? 0,
    retries: wholeNumber(cursor?.["retries"]) ?? 0,
    failedAt: wholeNumber(cursor?.["failedAt"]),
    doneJobIds: Array.isArray(doneJobIds) ? doneJobIds.filter(isId) : [],
    knownUntil: wholeNumber(cursor?.["knownUntil"]),
  };
}
