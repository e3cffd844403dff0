import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { EventStream } from "../support/eventStream.js";
import { expectStatus } from "../support/expectStatus.js";
import { registration } from "../support/factories.js";
import { httpClient } from "../support/http.js";
import { freePort, type RunningEntry, startEntry } from "../support/processes.js";
import { testStack } from "../support/stack.js";

const PATH = "/api/v1/imports";
const GRACE_MS = 20_000;

describe("events of an api that is told to end", function () {
  this.timeout(60_000);
  let database: TestDatabase;
  let home: string;
  let port: number;
  let api: RunningEntry;

  before(async () => {
    database = await createTestDatabase();
    home = await mkdtemp(path.join(tmpdir(), "playlog-events-"));
    port = await freePort();
    api = await startEntry("api/server.ts", {
      PLAYLOG_HOME: home,
      PORT: String(port),
      DATABASE_URL: database.url,
      REDIS_URL: testStack().redisUrl,
      TEMPORAL_ADDRESS: testStack().temporalAddress,
      BCRYPT_COST: "4",
      SHUTDOWN_GRACE_MS: String(GRACE_MS),
    });
  });
  after(async () => {
    await api.stop("SIGKILL");
    await database.drop();
    await rm(home, { recursive: true, force: true });
  });

  it("end at once on SIGTERM, also those that nobody reads, and the api with them", async () => {
    const url = `http://127.0.0.1:${port}`;
    const { body } = expectStatus(
      201,
      await httpClient(url, null).post("/api/v1/auth/register", registration()),
    );
    const token = body.accessToken as string;
    const options = { raw: "[]", headers: { "content-type": "application/json" } };
    const accepted = expectStatus(202, await httpClient(url, token).post(PATH, undefined, options));
    const id = accepted.body.id as string;
    await database.database.pool.query(
      `insert into import_parts (job_id, part_no, name, format, status)
       select $1, n, repeat('x', 900), 'spotify-extended', 'queued' from generate_series(1, 10000) n`,
      [id],
    );
    const read = await Promise.all(
      Array.from({ length: 5 }, () => EventStream.open(`${url}${PATH}/${id}/events`, token)),
    );
    for (const stream of read) expect((await stream.event())?.data.id).to.equal(id);
    const unread = net.connect(port, "127.0.0.1");
    unread.on("error", () => {}); // it may be cut off
    unread.write(
      `GET ${PATH}/${id}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`,
    );
    await once(unread, "data");
    unread.pause();

    const started = performance.now();
    const ended = api.stop("SIGTERM");
    for (const stream of read) expect(await stream.rest()).to.deep.equal([]);
    expect(await ended, api.output()).to.equal(0);
    expect(performance.now() - started).to.be.below(GRACE_MS / 3);
    expect(api.output()).to.match(/"finished":true/);
    unread.destroy();
  });
});
