/** The little of playlog's HTTP interface that the demo uses. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

export interface Ledger {
  readonly counts: { read: number; inserted: number; duplicate: number; skipped: number; rejected: number };
  readonly duplicate: Readonly<Record<string, number>>;
  readonly skipped: Readonly<Record<string, number>>;
  readonly rejected: Readonly<Record<string, number>>;
}

export interface ImportJob extends Ledger {
  readonly id: string;
  readonly status: string;
  readonly progress: { readonly percent: number | null };
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly workflowId: string | null;
}

export interface LedgerRow {
  readonly part: string;
  readonly position: number;
  readonly verdict: string;
  readonly reason: string;
  readonly message: string | null;
}

export interface Listen {
  readonly id: number;
  readonly playedAt: string;
  readonly counted: boolean;
  readonly msPlayed: number | null;
  readonly track: { readonly title: string };
  readonly artist: { readonly name: string };
}

export interface Page<T> {
  readonly data: readonly T[];
  readonly nextCursor: string | null;
}

export interface DemoLogin {
  readonly email: string;
  readonly username: string;
  readonly password: string;
}

/** A password of its own for each installation: the first account is the administrator. */
export function demoLogin(file: string): DemoLogin {
  if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8")) as DemoLogin;
  const login = {
    email: "demo@example.com",
    username: "demo",
    password: randomBytes(12).toString("base64url"),
  };
  writeFileSync(file, JSON.stringify(login, null, 2), { mode: 0o600 });
  return login;
}

/** One signed-in account. Every method throws with the server's own sentence when it refuses. */
export class DemoClient {
  readonly #base: string;
  #token = "";

  constructor(url: string) {
    this.#base = `${url}/api/v1`;
  }

  /** Makes the account, or signs in when it is there from an earlier run. */
  async signIn(login: DemoLogin): Promise<void> {
    const made = await this.#send("POST", "/auth/register", JSON.stringify(login), "application/json");
    const answer =
      made.status === 409
        ? await this.#send(
            "POST",
            "/auth/login",
            JSON.stringify({ login: login.username, password: login.password }),
            "application/json",
          )
        : made;
    this.#token = (await read<{ accessToken: string }>(answer)).accessToken;
  }

  async upload(filename: string, archive: Buffer): Promise<ImportJob> {
    const query = new URLSearchParams({ filename });
    return read(await this.#send("POST", `/imports?${query.toString()}`, archive, "application/zip"));
  }

  async get<T>(path: string): Promise<T> {
    return read<T>(await this.#send("GET", path));
  }

  /** All pages of a list, one after the other. */
  async all<T>(path: string): Promise<T[]> {
    const rows: T[] = [];
    let cursor: string | null = null;
    do {
      const query = new URLSearchParams(cursor === null ? { limit: "1000" } : { limit: "1000", cursor });
      const page: Page<T> = await this.get(`${path}${path.includes("?") ? "&" : "?"}${query.toString()}`);
      rows.push(...page.data);
      cursor = page.nextCursor;
    } while (cursor !== null);
    return rows;
  }

  #send(method: string, path: string, body?: string | Buffer, type?: string): Promise<Response> {
    const headers: Record<string, string> = {};
    if (this.#token !== "") headers["authorization"] = `Bearer ${this.#token}`;
    if (type !== undefined) headers["content-type"] = type;
    return fetch(this.#base + path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : new Uint8Array(body) }),
    });
  }
}

async function read<T>(response: Response): Promise<T> {
  const text = await response.text();
  if (!response.ok) {
    const { pathname } = new URL(response.url);
    throw new Error(`${pathname} answered ${response.status}: ${text.slice(0, 400)}`);
  }
  return JSON.parse(text) as T;
}
