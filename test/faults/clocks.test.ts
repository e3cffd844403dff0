/** One machine's clock is two hours ahead of all others', those of PostgreSQL and Redis among them. */
import { readdir, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { json, plays } from "../services/import/importing.js";
import { expectStatus } from "../support/expectStatus.js";
import { registration } from "../support/factories.js";
import { type AnswerBody, httpClient } from "../support/http.js";
import { freePort } from "../support/processes.js";
import { RawRequest } from "../support/sockets.js";
import { until } from "../support/until.js";
import { createService, type Service } from "./service.js";

const HOUR_MS = 3_600_000;
const SHIFT = fileURLToPath(new URL("../support/shiftedClock.mjs", import.meta.url));
const AHEAD_ENV = { CLOCK_AHEAD_MS: String(2 * HOUR_MS) };
const AHEAD_ARGS = ["--import", SHIFT];
const ME = "/api/v1/users/me";
const HISTORY = "/api/v1/listening-history";
/** Between now and what a right clock said. */
const SLACK_MS = 60_000;

describe("processes whose clock is two hours ahead", function () {
  this.timeout(60_000);
  let service: Service;
  let aheadPort: number;
  let account: AnswerBody;
  const credentials = registration();
  /** A personal API token, which no process dates. */
  let apiToken: string;

  before(async () => {
    service = await createService({ env: { RATE_LIMIT: "on" } });
    await service.startApi();
    aheadPort = await freePort();
    await Promise.all([
      service.startWorker(AHEAD_ENV, AHEAD_ARGS),
      service.startApi({ ...AHEAD_ENV, PORT: String(aheadPort) }, AHEAD_ARGS),
    ]);
    account = expectStatus(201, await right(null).post("/api/v1/auth/register", credentials)).body;
    const made = await right(account.accessToken).post("/api/v1/auth/tokens", {
      name: "for both",
      scopes: ["read", "write", "import"],
      expiresAt: new Date(Date.now() + 24 * HOUR_MS).toISOString(),
    });
    apiToken = expectStatus(201, made).body.token;
  });
  after(() => service.close());

  const right = (token: string | null) => httpClient(`http://127.0.0.1:${service.apiPort}`, token);
  const ahead = (token: string | null) => httpClient(`http://127.0.0.1:${aheadPort}`, token);
  const expectNow = (time: string, what: string): void => {
    expect(Date.parse(time), what).to.be.within(Date.now() - SLACK_MS, Date.now() + SLACK_MS);
  };

  it("refuse tokens of others and have theirs refused, cleanly, and end nobody's session by it", async () => {
    for (const { client, token } of [
      { client: ahead, token: account.accessToken },
      { client: right, token: (await refreshed(ahead)).accessToken },
    ]) {
      const refused = await client(token).get(ME);
      expect(expectStatus(401, refused).body.code).to.equal("unauthorized");
    }
    // Each takes its own, and a session goes on from one to the other: PostgreSQL says how long.
    for (const client of [right, ahead, right]) {
      const { accessToken } = await refreshed(client);
      expectStatus(200, await client(accessToken).get(ME));
    }
    const { data } = expectStatus(200, await right(account.accessToken).get("/api/v1/auth/sessions")).body;
    expect(data).to.have.length(1);
    expectNow(data[0].createdAt, "createdAt");
    expectNow(data[0].lastUsedAt, "lastUsedAt");
  });

  const refreshed = async (client: typeof right): Promise<AnswerBody> => {
    const answer = await client(null).post("/api/v1/auth/refresh", { refreshToken: account.refreshToken });
    account = expectStatus(200, answer).body;
    return account;
  };

  it("answer API tokens, write the right time, and show at once what others changed", async () => {
    const clients = [right(apiToken), ahead(apiToken)] as const;
    for (const [n, [writer, reader]] of [clients, [clients[1], clients[0]] as const].entries()) {
      const seen = async () => expectStatus(200, await reader.get(HISTORY)).body.data as AnswerBody[];
      expect(await seen()).to.have.length(n);
      const play = { playedAt: `2024-01-0${n + 1}T10:00:00Z`, track: { title: "Late", artist: "Ann" } };
      const { createdAt } = expectStatus(201, await writer.post(HISTORY, play)).body;
      expectNow(createdAt, "createdAt");
      await until("the other process shows it", async () => (await seen()).length === n + 1);
    }
  });

  it("empty nobody's window of requests, and leave none open", async () => {
    const wrong = { login: credentials.email, password: "not the password at all" };
    const last = async (client: typeof right): Promise<void> => {
      const refused = expectStatus(429, await client(null).post("/api/v1/auth/login", wrong));
      expect(Number(refused.headers.get("retry-after"))).to.be.within(1, 1000); // a window and a slice of it
    };
    let tries = 0;
    while ((await (tries % 2 === 0 ? right : ahead)(null).post("/api/v1/auth/login", wrong)).status === 401) {
      tries += 1;
    }
    expect(tries, "counted by both together").to.equal(10);
    for (const client of [ahead, right, ahead]) await last(client);
  });

  it("sweep no upload that is under way, and import it at the right time", async () => {
    const body = json(plays(100));
    const upload = new RawRequest(service.apiPort);
    await upload.head("POST", "/api/v1/imports", {
      Authorization: `Bearer ${apiToken}`,
      "Content-Type": "application/json",
      "Content-Length": body.length,
    });
    await upload.write(body.subarray(0, body.length / 2));
    const partials = async () =>
      (await readdir(service.spoolDir).catch(() => [])).filter((name) => name.endsWith(".partial"));
    await until("the upload is on its way", async () => (await partials()).length === 1);
    const [under] = await partials();
    // Old by any clock: once it is gone, the worker has swept.
    const left = path.join(service.spoolDir, `${"0".repeat(32)}.partial`);
    await writeFile(left, "x");
    const longAgo = new Date(Date.now() - 3 * HOUR_MS);
    await utimes(left, longAgo, longAgo);
    await until("the worker has swept", async () => !(await partials()).includes(path.basename(left)));
    expect(await partials()).to.deep.equal([under]);

    await upload.write(body.subarray(body.length / 2));
    const { status, body: answer } = await upload.answer();
    expect(status).to.equal(202);
    upload.destroy();
    const { id } = JSON.parse(answer) as { id: string };
    expect((await service.closed(id)).status).to.equal("completed");
    const shown = expectStatus(200, await ahead(apiToken).get(`/api/v1/imports/${id}`)).body;
    for (const time of ["createdAt", "startedAt", "finishedAt"]) expectNow(shown[time], time);
    expect(shown.counts).to.include({ read: 100, inserted: 100 });
  });
});
