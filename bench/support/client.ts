/** A client of the api for benchmarks: it uploads, waits, reads, and stays logged in. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const ENDED = ["completed", "completed_with_errors", "failed", "cancelled"];
/** Access tokens live for ten minutes. */
const TOKEN_AGE_MS = 4 * 60_000;
const PASSWORD = "plum tractor window ninety";

export interface Job {
  readonly id: string;
  readonly status: string;
  readonly counts: Readonly<Record<"read" | "inserted" | "duplicate" | "skipped" | "rejected", number>>;
}

/** What an upload consists of: bytes, or the path of a file that is streamed. */
export type UploadSource = Buffer | string;

/** What a form puts around the bytes of a file. */
export interface Envelope {
  readonly before: Buffer;
  readonly after: Buffer;
}

/** A user of the api, with just what benchmarks ask of it. */
export class BenchClient {
  #token = "";
  #tokenAt = 0;

  private constructor(
    private readonly base: string,
    private readonly name: string,
  ) {}

  static async register(base: string, name: string): Promise<BenchClient> {
    const client = new BenchClient(base, `${name}${process.pid}`);
    await client.#enter("register", {
      email: `${client.name}@example.org`,
      username: client.name,
      password: PASSWORD,
    });
    return client;
  }

  /** A token that is good for some minutes. */
  async token(): Promise<string> {
    if (Date.now() - this.#tokenAt > TOKEN_AGE_MS)
      await this.#enter("login", { login: this.name, password: PASSWORD });
    return this.#token;
  }

  /** Uploads and waits until the job is closed; throws unless its counts are the expected ones. */
  async import(
    archive: UploadSource,
    expected: { readonly inserted: number; readonly duplicate: number },
    pollMs?: number,
    seen?: (job: Job) => Promise<void>,
  ): Promise<Job> {
    const job = await this.importAny(archive, "bench.zip", pollMs, seen);
    const { inserted, duplicate } = job.counts;
    if (job.status !== "completed" || inserted !== expected.inserted || duplicate !== expected.duplicate) {
      throw new Error(`the import went wrong: ${JSON.stringify(job)}`);
    }
    return job;
  }

  /** Uploads and waits until the job is closed, however it ends. `seen` is given the job each time it was looked at. */
  async importAny(
    source: UploadSource,
    filename: string,
    pollMs = 100,
    seen: (job: Job) => Promise<void> = () => Promise.resolve(),
  ): Promise<Job> {
    const address = `/api/v1/imports?filename=${encodeURIComponent(filename)}`;
    const accepted = await this.upload(source, address, "application/octet-stream");
    let job = JSON.parse(accepted) as Job;
    while (!ENDED.includes(job.status)) {
      await sleep(pollMs);
      job = await this.get<Job>(`/api/v1/imports/${job.id}`);
      await seen(job);
    }
    return job;
  }

  async get<T>(address: string): Promise<T> {
    const response = await fetch(this.base + address, {
      headers: { authorization: `Bearer ${await this.token()}` },
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`GET ${address} answered ${response.status}: ${text}`);
    return JSON.parse(text) as T;
  }

  /** Sends a body as it comes and returns the text of the answer, which must be a 2xx. */
  async upload(source: UploadSource, address: string, type: string, form?: Envelope): Promise<string> {
    const { before, after } = form ?? { before: Buffer.alloc(0), after: Buffer.alloc(0) };
    const length = typeof source === "string" ? (await stat(source)).size : source.length;
    const authorization = `Bearer ${await this.token()}`;
    return new Promise((resolve, reject) => {
      const request = httpRequest(this.base + address, {
        method: "POST",
        headers: {
          authorization,
          "content-type": type,
          "content-length": before.length + length + after.length,
        },
      });
      request.once("error", reject);
      request.once("response", (response) => {
        response.setEncoding("utf8");
        let text = "";
        response.on("data", (chunk: string) => (text += chunk));
        response.once("error", reject);
        response.once("end", () => {
          const status = response.statusCode ?? 0;
          if (status >= 200 && status < 300) resolve(text);
          else reject(new Error(`POST ${address} answered ${status}: ${text}`));
        });
      });
      request.write(before);
      if (typeof source !== "string") request.end(Buffer.concat([source, after]));
      else {
        const file = createReadStream(source, { highWaterMark: 256 * 1024 });
        file.once("error", reject).once("end", () => request.end(after));
        file.pipe(request, { end: false });
      }
    });
  }

  /** A whole request that logs this user in, for a load generator. */
  loginRequest(): string {
    const body = JSON.stringify({ login: this.name, password: PASSWORD });
    const head = ["POST /api/v1/auth/login HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"];
    return `${[...head, `Content-Length: ${Buffer.byteLength(body)}`].join("\r\n")}\r\n\r\n${body}`;
  }

  async #enter(way: "register" | "login", body: object): Promise<void> {
    const response = await fetch(`${this.base}/api/v1/auth/${way}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${way} answered ${response.status}: ${text}`);
    this.#token = (JSON.parse(text) as { accessToken: string }).accessToken;
    this.#tokenAt = Date.now();
  }
}
