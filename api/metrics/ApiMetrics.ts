/** What the api counts. One object per app; api/server.ts shows it on OPS_PORT, nothing else does. */
import { Counter, Gauge, Histogram } from "prom-client";
import { RATE_CLASSES, type RateClass } from "../middleware/rateLimit.js";
import { createRegistry, REQUEST_SECONDS } from "../../utils/metrics.js";

export interface RequestEnd {
  readonly method: string;
  /** Template of the route; undefined when none took the request. */
  readonly route: string | undefined;
  /** Null: the connection was gone before the answer was out. */
  readonly status: number | null;
  readonly seconds: number;
}

const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** What a 401 of these routes means; of any other route it is a token that does not work. */
const CREDENTIALS: Readonly<Record<string, AuthFailure>> = {
  "/api/v1/auth/login": "login",
  "/api/v1/auth/refresh": "refresh",
};
const AUTH_FAILURES = ["login", "refresh", "token"] as const;
type AuthFailure = (typeof AUTH_FAILURES)[number];

export class ApiMetrics {
  readonly registry = createRegistry();
  readonly #registers = [this.registry];
  #inFlight = 0;

  readonly #requests = new Histogram({
    name: "playlog_http_request_seconds",
    help: "Time from the head of a request to the last byte of its answer; status `aborted`: the client had gone",
    labelNames: ["method", "route", "status"],
    buckets: [...REQUEST_SECONDS],
    registers: this.#registers,
  });
  readonly #authFailures = new Counter({
    name: "playlog_auth_failures_total",
    help: "Requests refused with 401, by what was wrong: login, refresh token, access token",
    labelNames: ["kind"],
    registers: this.#registers,
  });
  readonly #rateLimited = new Counter({
    name: "playlog_rate_limited_total",
    help: "Requests refused because there were too many, by limit; account: failed tries to get into one",
    labelNames: ["limit"],
    registers: this.#registers,
  });
  readonly #uploads = new Counter({
    name: "playlog_uploads_total",
    help: "Uploads that were stored, refused for their size, or broke off",
    labelNames: ["outcome"],
    registers: this.#registers,
  });
  readonly #uploadBytes = new Counter({
    name: "playlog_upload_bytes_total",
    help: "Bytes of the uploads that were stored",
    registers: this.#registers,
  });
  readonly #uploadsInFlight = new Gauge({
    name: "playlog_uploads_in_flight",
    help: "Uploads being received",
    registers: this.#registers,
  });

  readonly #eventStreams = new Gauge({
    name: "playlog_event_streams_open",
    help: "Listeners to the events of imports",
    registers: this.#registers,
  });

  constructor() {
    this.addGauge(
      "playlog_http_requests_in_flight",
      "Requests whose answer is not out yet, event streams among them",
      () => this.#inFlight,
    );
    for (const kind of AUTH_FAILURES) this.#authFailures.inc({ kind }, 0);
    for (const limit of [...RATE_CLASSES, "account"]) this.#rateLimited.inc({ limit }, 0);
    for (const outcome of ["stored", "refused", "failed"]) this.#uploads.inc({ outcome }, 0);
  }

  requestBegan(): void {
    this.#inFlight += 1;
  }

  requestEnded({ method, route, status, seconds }: RequestEnd): void {
    this.#inFlight -= 1;
    const labels = {
      method: METHODS.has(method) ? method : "other",
      route: route ?? "unmatched",
      status: status === null ? "aborted" : String(status),
    };
    this.#requests.observe(labels, seconds);
    if (status === 401) this.#authFailures.inc({ kind: CREDENTIALS[labels.route] ?? "token" });
  }

  rateLimited(limit: RateClass | "account"): void {
    this.#rateLimited.inc({ limit });
  }

  uploadBegan(): void {
    this.#uploadsInFlight.inc();
  }

  /** @param bytes of an upload that was stored */
  uploadEnded(outcome: "stored" | "refused" | "failed", bytes = 0): void {
    this.#uploadsInFlight.dec();
    this.#uploads.inc({ outcome });
    this.#uploadBytes.inc(bytes);
  }

  /** @param change 1 when a stream begins, -1 when it ends */
  eventStreams(change: 1 | -1): void {
    this.#eventStreams.inc(change);
  }

  /** A figure that somebody else keeps, asked for at each scrape. */
  addGauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: this.#registers,
      collect() {
        this.set(read());
      },
    });
  }
}
