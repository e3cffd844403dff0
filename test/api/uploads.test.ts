import { randomBytes, randomUUID } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { pack } from "tar-stream";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { formBody, type FormPart, formType } from "../support/multipart.js";
import { RawRequest } from "../support/sockets.js";

const PATH = "/api/v1/imports";
const MAX_BYTES = 200_000;

/** The task queue of this app has no worker: what is accepted stays queued. */
describe("POST /imports", () => {
  let app: TestApp;
  let user: TestUser;
  let earlier: ReadonlySet<string>;

  before(async () => {
    app = await startTestApp({ env: { UPLOAD_MAX_BYTES: String(MAX_BYTES) } });
  });
  beforeEach(async () => {
    user = await buildUser(app);
    earlier = new Set(await spool());
  });
  after(() => app.close());

  const spool = (): Promise<string[]> => readdir(app.config.spoolDir).catch(() => []);
  const newFiles = async (): Promise<string[]> => (await spool()).filter((name) => !earlier.has(name));
  const jobs = async (): Promise<number> => (await app.as(user).get(PATH)).body.data.length as number;
  const content = (): string => JSON.stringify([{ n: randomUUID() }]);

  const sendRaw = (
    body: string | Buffer,
    { query = "", type = "application/json", key }: { query?: string; type?: string; key?: string } = {},
  ): Promise<Answer> =>
    app.as(user).post(`${PATH}${query}`, undefined, {
      raw: body,
      headers: { "content-type": type, ...(key === undefined ? {} : { "idempotency-key": key }) },
    });
  const sendForm = (
    body: string | Buffer,
    fields: Readonly<Record<string, string>> = {},
    { query = "", key }: { query?: string; key?: string } = {},
  ): Promise<Answer> => {
    const parts: FormPart[] = [
      ...Object.entries(fields).map(([name, value]) => ({ name, body: value })),
      { name: "file", filename: "endsong_0.json", type: "application/json", body },
    ];
    return sendRaw(formBody(parts), { query, type: formType, ...(key === undefined ? {} : { key }) });
  };
  /** An upload under way: its head and a part of its body are sent. */
  const begin = async (
    owner: TestUser,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<RawRequest> => {
    const request = new RawRequest(app.port);
    await request.head("POST", PATH, {
      Authorization: `Bearer ${owner.accessToken}`,
      "Transfer-Encoding": "chunked",
      "Content-Type": "application/json",
      ...headers,
    });
    await request.chunk(Buffer.from("[".padEnd(5000)));
    return request;
  };
  const eventually = async <T>(look: () => Promise<T>, wanted: (value: T) => boolean): Promise<T> => {
    for (let tries = 0; tries < 100; tries += 1) {
      const value = await look();
      if (wanted(value)) return value;
      await sleep(20);
    }
    return look();
  };

  it("accepts a raw body and a form alike, with the place of the import", async () => {
    for (const send of [sendRaw, sendForm]) {
      const body = content();
      const answer = expectStatus(202, await send(body));
      expect(answer.headers.get("location")).to.equal(`${PATH}/${answer.body.id as string}`);
      expect(answer.body).to.include({ status: "queued", sizeBytes: body.length });
      const shown = await app.as(user).get(answer.headers.get("location") ?? "");
      expect(shown.body).to.deep.equal(answer.body);
    }
    expect(await newFiles()).to.have.length(2);
  });

  it("takes every type of the contract, and others when the bytes are fine", async () => {
    for (const type of [
      "application/zip",
      "application/x-zip-compressed",
      "application/json; charset=utf-8",
      "application/x-ndjson",
      "text/csv",
      "text/html",
      "application/gzip",
      "application/octet-stream",
      "application/x-www-form-urlencoded",
    ]) {
      expectStatus(202, await sendRaw(content(), { type }));
    }
  });

  it("takes a tar archive that is not packed, by its content", async () => {
    const archive = pack();
    archive.entry({ name: "a.json" }, content());
    archive.finalize();
    const bytes = await buffer(archive);
    for (const type of ["application/x-tar", "application/octet-stream"]) {
      expectStatus(type === "application/x-tar" ? 202 : 200, await sendRaw(bytes, { type }));
    }
    bytes.write("x", 150); // a tar archive no more, nor a text
    expectStatus(415, await sendRaw(bytes, { type: "application/x-tar" }));
  });

  it("takes the same upload for the first while that is open, however it is sent", async () => {
    const body = content();
    const first = expectStatus(202, await sendRaw(body, { query: "?filename=a.json" }));
    for (const again of [await sendRaw(body, { query: "?filename=b.json" }), await sendForm(body)]) {
      expect(expectStatus(200, again).body).to.include({ id: first.body.id, filename: "a.json" });
    }
    expect(await newFiles(), "one file kept").to.have.length(1);
    const other = expectStatus(202, await sendRaw(body, { query: "?source=spotify" }));
    expect(other.body.id).not.to.equal(first.body.id);

    expectStatus(202, await app.as(user).post(`${PATH}/${first.body.id as string}/cancel`));
    expect(expectStatus(202, await sendRaw(body)).body.id).not.to.equal(first.body.id);
  });

  it("makes one import of ten equal uploads sent at once", async () => {
    const body = content();
    const answers = await Promise.all(Array.from({ length: 10 }, () => sendRaw(body)));
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([...Array<number>(9).fill(200), 202]);
    expect(new Set(answers.map((answer) => answer.body.id as string)).size).to.equal(1);
    expect(await newFiles()).to.have.length(1);
  });

  it("keeps the name of the file as a label, without its folders", async () => {
    const name = async (filename: string): Promise<unknown> =>
      (await sendRaw(content(), { query: `?filename=${encodeURIComponent(filename)}` })).body.filename;
    expect(await name("../../etc/passwd")).to.equal("passwd");
    expect(await name("C:\\Users\\me\\Streaming History.json")).to.equal("Streaming History.json");
    expect(await name("a\r\nX-Evil: 1\u001b[31m.json")).to.equal("aX-Evil: 1[31m.json");
    expect(await name("folder/")).to.equal(null);
    expect((await sendRaw(content())).body.filename).to.equal(null);
    expect((await sendForm(content())).body.filename).to.equal("endsong_0.json");
  });

  it("passes the source on, from the query string or from the form", async () => {
    expect((await sendRaw(content(), { query: "?source=spotify-extended" })).body.source).to.equal(
      "spotify-extended",
    );
    expect((await sendForm(content(), { source: "spotify" })).body).to.deep.include({
      source: "spotify",
      options: { source: "spotify", from: null, until: null, includeIncognito: false },
    });
    expect((await sendForm(content(), {}, { query: "?source=spotify" })).body.source).to.equal("spotify");
  });

  it("keeps the other options, from the query string, from the form, and from both", async () => {
    const all = {
      dryRun: "true",
      from: "2020-01-01T00:00:00+02:00",
      until: "2021-01-01T00:00:00.5Z",
      includeIncognito: "true",
    };
    const asked = {
      dryRun: true,
      options: {
        source: null,
        from: "2019-12-31T22:00:00.000Z",
        until: "2021-01-01T00:00:00.500Z",
        includeIncognito: true,
      },
    };
    const { until, ...rest } = all;
    for (const answer of [
      await sendRaw(content(), { query: `?${new URLSearchParams(all)}` }),
      await sendForm(content(), all),
      await sendForm(content(), rest, { query: `?${new URLSearchParams({ until })}` }),
    ]) {
      expect(expectStatus(202, answer).body).to.deep.include(asked);
      const { rows } = await app.deps.database.pool.query(
        'select dry_run as "dryRun", options from import_jobs where id = $1',
        [answer.body.id],
      );
      expect(rows[0]).to.deep.equal(asked);
    }
    const plain = expectStatus(
      202,
      await sendRaw(content(), { query: "?dryRun=false&includeIncognito=false" }),
    );
    expect(plain.body).to.deep.include({
      dryRun: false,
      options: { source: null, from: null, until: null, includeIncognito: false },
    });
  });

  it("takes the same bytes with other options for another upload", async () => {
    const body = content();
    const queries = [
      "",
      "?dryRun=true",
      "?from=2020-01-01T00:00:00Z",
      "?until=2020-01-01T00:00:00Z",
      "?includeIncognito=true",
    ];
    const made: string[] = [];
    for (const query of queries)
      made.push(expectStatus(202, await sendRaw(body, { query })).body.id as string);
    expect(new Set(made).size).to.equal(queries.length);
    for (const [index, query] of queries.entries()) {
      expect(expectStatus(200, await sendRaw(body, { query })).body.id, query).to.equal(made[index]);
    }
    const otherOffset = await sendRaw(body, { query: "?from=2020-01-01T01:00:00%2B01:00&dryRun=false" });
    expect(expectStatus(200, otherOffset).body.id).to.equal(made[2]);
  });

  for (const [option, value, code] of [
    ["dryRun", "yes", "wrong_type"],
    ["dryRun", "TRUE", "wrong_type"],
    ["dryRun", "", "wrong_type"],
    ["includeIncognito", "1", "wrong_type"],
    ["from", "2024", "bad_time"],
    ["from", "2024-02-30T00:00:00Z", "bad_time"],
    ["from", "2024-02-01T00:00:00", "bad_time"],
    ["from", "now", "bad_time"],
    ["until", "+275760-09-13T00:00:00Z", "bad_time"],
    ["until", "infinity", "bad_time"],
  ] as const) {
    it(`refuses ${option}=${value}, wherever it stands`, async () => {
      for (const answer of [
        await sendRaw(content(), { query: `?${new URLSearchParams({ [option]: value })}` }),
        await sendForm(content(), {}, { query: `?${new URLSearchParams({ [option]: value })}` }),
        await sendForm(content(), { [option]: value }),
      ]) {
        expect(expectStatus(400, answer).body.errors[0]).to.include({ path: option, code });
      }
      expect([await jobs(), await newFiles()]).to.deep.equal([0, []]);
    });
  }

  it("refuses a range that nothing can be in, wherever its ends stand", async () => {
    const [from, until] = ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00"];
    for (const answer of [
      await sendRaw(content(), { query: `?${new URLSearchParams({ from, until })}` }),
      await sendForm(content(), { from, until }),
      await sendForm(content(), { until }, { query: `?${new URLSearchParams({ from })}` }),
    ]) {
      expect(expectStatus(400, answer).body.errors[0]).to.include({ path: "from", code: "bad_range" });
    }
    const request = new RawRequest(app.port);
    await request.head("POST", `${PATH}?from=${from}&until=${from}`, {
      Authorization: `Bearer ${user.accessToken}`,
      "Content-Length": MAX_BYTES,
    });
    expect((await request.answer()).status, "before the body").to.equal(400);
    request.destroy();
    expect([await jobs(), await newFiles()]).to.deep.equal([0, []]);
  });

  it("names every option that is in the query string and in the form", async () => {
    const both = { dryRun: "true", source: "spotify" };
    const answer = expectStatus(
      400,
      await sendForm(content(), both, { query: `?${new URLSearchParams(both)}` }),
    );
    expect(
      answer.body.errors.map(({ path: name, code }: { path: string; code: string }) => [name, code]),
    ).to.deep.equal([
      ["source", "conflicting"],
      ["dryRun", "conflicting"],
    ]);
  });

  it("refuses options it does not know and sources it cannot read, naming them", async () => {
    for (const [answer, field] of [
      [await sendRaw(content(), { query: "?mode=fast" }), "mode"],
      [await sendForm(content(), { mode: "fast" }), "mode"],
      [await sendRaw(content(), { query: "?source=deezer" }), "source"],
      [await sendForm(content(), { source: "deezer" }), "source"],
      [await sendForm(content(), { source: "" }), "source"],
      [await sendForm(content(), { source: "spotify" }, { query: "?source=spotify" }), "source"],
      [await sendRaw(content(), { query: "?filename=%00" }), "filename"],
    ] as const) {
      expect(expectStatus(400, answer).body.errors[0].path).to.equal(field);
    }
    expect([await jobs(), await newFiles()]).to.deep.equal([0, []]);
  });

  it("refuses what is too large, empty or no history, and keeps nothing of it", async () => {
    const png = Buffer.from("89504e470d0a1a0a0000000d49484452", "hex");
    const large = Buffer.alloc(MAX_BYTES + 1, "1");
    for (const send of [sendRaw, sendForm]) {
      expect(expectStatus(413, await send(large)).body.code).to.equal("too_large");
      expect(expectStatus(400, await send("")).body.code).to.equal("empty_file");
      expectStatus(415, await send(png));
      expectStatus(202, await send(Buffer.concat([Buffer.from("PK\x03\x04"), randomBytes(MAX_BYTES - 4)])));
    }
    expect([await jobs(), (await newFiles()).length]).to.deep.equal([2, 2]);
  });

  it("makes nothing of an upload whose client goes away", async () => {
    const request = await begin(user);
    expect(await eventually(newFiles, (files) => files.length > 0)).to.have.length(1);
    request.destroy();
    expect(await eventually(newFiles, (files) => files.length === 0)).to.deep.equal([]);
    expect(await jobs()).to.equal(0);
  });

  it("asks for a token before it reads the body", async () => {
    const request = new RawRequest(app.port);
    await request.head("POST", PATH, { "Content-Length": MAX_BYTES, "Content-Type": "application/json" });
    expect((await request.answer()).status).to.equal(401);
    request.destroy();
  });

  it("answers 401 when the account is deleted while its upload comes in", async () => {
    for (const headers of [{}, { "Idempotency-Key": "k" }]) {
      const leaving = await buildUser(app);
      const request = await begin(leaving, headers);
      await eventually(newFiles, (files) => files.length > 0);
      await app.deps.database.pool.query("delete from users where id = $1", [leaving.id]);
      await request.chunk(Buffer.from("]"));
      await request.chunk(Buffer.alloc(0));
      expect((await request.answer()).status).to.equal(401);
      request.destroy();
      expect(await newFiles()).to.deep.equal([]);
    }
  });

  it("lets each user upload ten files at once", async () => {
    const requests = await Promise.all(Array.from({ length: 10 }, () => begin(user)));
    await eventually(newFiles, (files) => files.length === 10);

    const eleventh = expectStatus(429, await sendRaw(content()));
    expect(eleventh.body.code).to.equal("too_many_uploads");
    expect(Number(eleventh.headers.get("retry-after"))).to.be.greaterThan(0);
    const other = await buildUser(app);
    const headers = { "content-type": "application/json" };
    expectStatus(202, await app.as(other).post(PATH, undefined, { raw: content(), headers }));

    for (const request of requests) request.destroy();
    await eventually(newFiles, (files) => files.length === 1);
    expectStatus(202, await sendRaw(content()));
  });

  describe("with an Idempotency-Key", () => {
    it("gives the first answer again, also when the import has moved on, and keeps one file", async () => {
      const body = content();
      const first = expectStatus(202, await sendRaw(body, { key: "k" }));
      await app.deps.database.pool.query("update import_jobs set status = 'completed' where id = $1", [
        first.body.id,
      ]);

      const again = expectStatus(202, await sendRaw(body, { key: "k" }));

      expect(JSON.stringify(again.body)).to.equal(JSON.stringify(first.body));
      expect(again.headers.get("location")).to.equal(first.headers.get("location"));
      expect([await jobs(), (await newFiles()).length]).to.deep.equal([1, 1]);
      const [file = ""] = await newFiles();
      expect(await readFile(path.join(app.config.spoolDir, file), "utf8")).to.equal(body);
    });

    it("does not mind whether the same file comes raw or in a form", async () => {
      const body = content();
      const first = expectStatus(202, await sendForm(body, { source: "spotify" }, { key: "k" }));
      const query = "?source=spotify&filename=endsong_0.json";
      expect(expectStatus(202, await sendRaw(body, { query, key: "k" })).body).to.deep.equal(first.body);
    });

    it("refuses another upload, another option and another name under the same key", async () => {
      const body = content();
      expectStatus(202, await sendRaw(body, { key: "k" }));
      for (const answer of [
        await sendRaw(content(), { key: "k" }),
        await sendRaw(body, { key: "k", query: "?source=spotify" }),
        await sendRaw(body, { key: "k", query: "?filename=x.json" }),
        await sendRaw(body, { key: "k", query: "?dryRun=true" }),
        await sendRaw(body, { key: "k", query: "?from=2020-01-01T00:00:00Z" }),
        await sendRaw(body, { key: "k", query: "?until=2020-01-01T00:00:00Z" }),
        await sendRaw(body, { key: "k", query: "?includeIncognito=true" }),
      ]) {
        expect(expectStatus(422, answer).body.code).to.equal("idempotency_mismatch");
      }
      expect([await jobs(), (await newFiles()).length]).to.deep.equal([1, 1]);
    });

    it("says so while the first request is still coming in", async () => {
      const request = await begin(user, { "Idempotency-Key": "k" });
      await eventually(newFiles, (files) => files.length > 0);
      const second = expectStatus(409, await sendRaw(content(), { key: "k" }));
      expect(second.body.code).to.equal("idempotency_in_progress");
      expect(Number(second.headers.get("retry-after"))).to.be.greaterThan(0);
      await request.chunk(Buffer.from("]"));
      await request.chunk(Buffer.alloc(0));
      expect((await request.answer()).status).to.equal(202);
      request.destroy();
    });

    it("is free again after a request that failed", async () => {
      expectStatus(400, await sendRaw("", { key: "k" }));
      expectStatus(400, await sendForm(content(), { source: "deezer" }, { key: "k" }));
      expectStatus(202, await sendRaw(content(), { key: "k" }));
    });

    it("is forgotten after a day", async () => {
      expectStatus(202, await sendRaw(content(), { key: "k" }));
      await app.deps.database.pool.query(
        "update idempotency_keys set created_at = created_at - interval '24 hours 1 second' where user_id = $1",
        [user.id],
      );
      expectStatus(202, await sendRaw(content(), { key: "k" }));
      expect(await jobs()).to.equal(2);
    });

    it("belongs to its user", async () => {
      const other = await buildUser(app);
      const body = content();
      const headers = { "content-type": "application/json", "idempotency-key": "k" };
      const mine = expectStatus(202, await sendRaw(body, { key: "k" }));
      const theirs = expectStatus(202, await app.as(other).post(PATH, undefined, { raw: body, headers }));
      expect(theirs.body.id).not.to.equal(mine.body.id);
    });

    it("must be one word of printable ASCII", async () => {
      for (const key of ["", "two words", "x".repeat(256), "ä"]) {
        expect(expectStatus(400, await sendRaw(content(), { key })).body.errors[0].path).to.equal(
          "Idempotency-Key",
        );
      }
      expect(await newFiles()).to.deep.equal([]);
    });
  });
});
