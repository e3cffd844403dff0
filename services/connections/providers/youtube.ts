/**
 * YouTube's history through Google's Data Portability: an archive is asked for, made by Google in minutes to days, and
 * fetched from signed addresses. Each call is one stage. The id of what was asked for is in the cursor before anything is
 * asked about it, so a crash finds it again. See docs/adr/0025.
 */
import { ProviderError, ReauthNeededError } from "../errors.js";
import type { ProviderDownload, ProviderResponse } from "../http/providerFetch.js";
import { archiveOf } from "./archiveFiles.js";
import { authorized, type Call, type Json, objectIn, wholeNumber } from "./calls.js";
import { quotaAsksToWait, refusalIn } from "./googleErrors.js";
import type { ArchiveProvider, ArchiveRequest, ArchiveStage } from "./types.js";

const NAME = "Google";
const RESOURCES = ["myactivity.youtube"];
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** Google asks for 5 to 60 minutes between questions. */
const FIRST_POLL_MS = 5 * MINUTE_MS;
const LONGEST_POLL_MS = 60 * MINUTE_MS;
/** The same days are asked for again: plays of devices that were offline turn up late. */
const OVERLAP_MS = 2 * DAY_MS;
const MOST_RETRIES = 3;
const JOB_ID = /^[\w-]{1,200}$/;

interface Position {
  /** The archive that Google makes; null: none was asked for. */
  readonly jobId: string | null;
  /** When it was asked for, and how often it was asked about since. */
  readonly askedAt: number;
  readonly polls: number;
  /** How often Google was asked to try again. */
  readonly retries: number;
  /** When it was given up; null: it was not. */
  readonly failedAt: number | null;
  /** Of the archive that was imported last, and when that was asked for; null: none yet. */
  readonly lastJobId: string | null;
  readonly knownUntil: number | null;
}

export interface GoogleAccess {
  readonly apiUrl: string;
  readonly download: ProviderDownload;
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
    const { knownUntil, lastJobId } = this.position;
    const { polledAt } = this.request;
    const startTime =
      knownUntil === null ? {} : { startTime: new Date(knownUntil - OVERLAP_MS).toISOString() };
    const answer = await this.#ask("/v1/portabilityArchive:initiate", { resources: RESOURCES, ...startTime });
    if (answer.status === 200) return this.#asked(objectIn(answer, NAME)["archiveJobId"]);

    const refusal = refusalIn(answer);
    if (refusal?.kind === "too soon") {
      // An archive that was asked for by a worker that then died: its id comes back this way.
      if (refusal.jobId !== null && refusal.jobId !== lastJobId) return this.#asked(refusal.jobId);
      return this.#wait(this.position, Math.max(refusal.until ?? polledAt + DAY_MS, polledAt));
    }
    if (refusal?.kind === "used up") {
      await this.#ask("/v1/authorization:reset", {});
      throw new ReauthNeededError("Google allowed one archive only: the account has to be connected again");
    }
    throw refused(answer);
  }

  #asked(jobId: unknown): ArchiveStage {
    if (typeof jobId !== "string" || !JOB_ID.test(jobId)) {
      throw new ProviderError("Google did not say which archive it makes", false);
    }
    const { polledAt } = this.request;
    const fresh = { askedAt: polledAt, polls: 0, retries: 0, failedAt: null };
    return this.#wait({ ...this.position, ...fresh, jobId }, polledAt + FIRST_POLL_MS);
  }

  async #poll(jobId: string): Promise<ArchiveStage> {
    const answer = await this.#ask(`/v1/archiveJobs/${jobId}/portabilityArchiveState`);
    // Archives are kept for two weeks.
    if (answer.status === 404) return this.#wait({ ...this.position, jobId: null }, this.request.polledAt);
    if (answer.status !== 200) throw refused(answer);
    const { state, urls } = objectIn(answer, NAME);
    switch (state) {
      case "IN_PROGRESS":
        return this.#notYet();
      case "COMPLETE":
        return this.#fetch(jobId, urls ?? []);
      case "FAILED":
      case "CANCELLED":
        return this.#again(jobId);
      default:
        throw new ProviderError("Google answered with a state that is not documented", false);
    }
  }

  #notYet(): ArchiveStage {
    const polls = this.position.polls + 1;
    const pause = Math.min(FIRST_POLL_MS * 2 ** polls, LONGEST_POLL_MS);
    return this.#wait({ ...this.position, polls }, this.request.polledAt + pause);
  }

  /** Google makes a new archive of a failed one, under a new id. */
  async #again(jobId: string): Promise<ArchiveStage> {
    const { polledAt } = this.request;
    const { retries } = this.position;
    if (retries < MOST_RETRIES) {
      const answer = await this.#ask(`/v1/archiveJobs/${jobId}:retry`, {});
      const next = answer.status === 200 ? objectIn(answer, NAME)["archiveJobId"] : undefined;
      if (typeof next === "string" && JOB_ID.test(next)) {
        const position = { ...this.position, jobId: next, polls: 0, retries: retries + 1 };
        return this.#wait(position, polledAt + FIRST_POLL_MS);
      }
    }
    return this.#wait({ ...this.position, failedAt: polledAt }, polledAt);
  }

  async #fetch(jobId: string, urls: unknown): Promise<ArchiveStage> {
    if (!Array.isArray(urls) || !urls.every((url) => typeof url === "string")) {
      throw new ProviderError("Google answered with JSON of another shape than documented", false);
    }
    const cursor = cursorOf({
      ...positionOf(null),
      lastJobId: jobId,
      knownUntil: this.position.askedAt,
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
  const idIn = (name: string): string | null => {
    const id = cursor?.[name];
    return typeof id === "string" && JOB_ID.test(id) ? id : null;
  };
  return {
    jobId: idIn("jobId"),
    askedAt: wholeNumber(cursor?.["askedAt"]) ?? 0,
    polls: wholeNumber(cursor?.["polls"]) ?? 0,
    retries: wholeNumber(cursor?.["retries"]) ?? 0,
    failedAt: wholeNumber(cursor?.["failedAt"]),
    lastJobId: idIn("lastJobId"),
    knownUntil: wholeNumber(cursor?.["knownUntil"]),
  };
}
