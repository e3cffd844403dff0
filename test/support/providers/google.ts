/** Google's Data Portability: an archive is asked for, made while one waits, and fetched from signed addresses. */
import { randomUUID } from "node:crypto";
import type { Exchange } from "./exchange.js";
import { bearer, json } from "./exchange.js";
import { OAuthStandIn } from "./oauth.js";

export interface ArchiveJob {
  readonly account: string;
  readonly body: Record<string, unknown>;
  /** As `Date` writes it. */
  readonly askedAt: string;
  state: "IN_PROGRESS" | "COMPLETE" | "FAILED" | "CANCELLED";
}

const failure = (code: number, status: string, message: string, details: readonly object[] = []) =>
  json(code, { error: { code, status, message, details } });

export class GoogleStandIn {
  readonly oauth = new OAuthStandIn({ authorize: "/o/oauth2/v2/auth", token: "/token", revoke: "/revoke" });
  readonly jobs = new Map<string, ArchiveJob>();
  /** What every finished archive holds; the bytes of its files. */
  files: Buffer[] = [];
  /** Archives are still made for this many questions. */
  polls = 1;
  /** How often `authorization:reset` was asked for. */
  resets = 0;
  /** Consent that was given once, and is used up with the first archive. */
  readonly spent = new Set<string>();
  oneTime = false;
  now: () => Date = () => new Date();

  readonly handle = (exchange: Exchange): boolean => {
    const { url, response, method, body } = exchange;
    if (this.oauth.handle(exchange)) return true;
    const file = /^\/archive\/(\d+)$/.exec(url.pathname)?.[1];
    if (file !== undefined) {
      const bytes = this.files[Number(file)];
      if (bytes === undefined) response.writeHead(404).end();
      else response.writeHead(200, { "content-type": "application/zip" }).end(bytes);
      return true;
    }
    const job = /^\/v1\/archiveJobs\/([\w-]+)\/portabilityArchiveState$/.exec(url.pathname)?.[1];
    const initiates = url.pathname === "/v1/portabilityArchive:initiate" && method === "POST";
    const resets = url.pathname === "/v1/authorization:reset" && method === "POST";
    if (job === undefined && !initiates && !resets) return false;
    const account = this.oauth.access.get(bearer(exchange));
    if (account === undefined) failure(401, "UNAUTHENTICATED", "Invalid credentials")(response);
    else if (job !== undefined) this.#state(job, exchange);
    else if (resets) {
      this.resets += 1;
      this.spent.delete(account);
      json(200, {})(response);
    } else this.#initiate(account, body, exchange);
    return true;
  };

  #initiate(account: string, body: string, { response }: Exchange): void {
    if (this.spent.has(account)) {
      const reason = "RESOURCE_EXHAUSTED_ONE_TIME";
      const previous_job_ids = [...this.jobs.keys()].join(",");
      const details = [{ reason, metadata: { previous_job_ids } }];
      return failure(429, "RESOURCE_EXHAUSTED", "Requested resources are exhausted", details)(response);
    }
    if (this.oneTime) this.spent.add(account);
    const archiveJobId = randomUUID();
    this.jobs.set(archiveJobId, {
      account,
      body: JSON.parse(body) as Record<string, unknown>,
      askedAt: this.now().toISOString(),
      state: "IN_PROGRESS",
    });
    const accessType = this.oneTime ? "ACCESS_TYPE_ONE_TIME" : "ACCESS_TYPE_TIME_BASED";
    json(200, { archiveJobId, accessType })(response);
  }

  #state(id: string, { url, response }: Exchange): void {
    const job = this.jobs.get(id);
    if (job === undefined) return failure(404, "NOT_FOUND", "No such job")(response);
    if (job.state === "IN_PROGRESS" && this.polls > 0) this.polls -= 1;
    else if (job.state === "IN_PROGRESS") job.state = "COMPLETE";
    const urls = this.files.map((_, index) => `${url.origin}/archive/${index}?signature=canary-signature`);
    json(200, {
      name: `archiveJobs/${id}/portabilityArchiveState`,
      state: job.state,
      ...(job.state === "COMPLETE" ? { urls, exportTime: job.askedAt } : {}),
    })(response);
  }
}
