import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import type http from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { gzipSync } from "node:zlib";
import { expect } from "chai";
import Koa from "koa";
import { errorHandler } from "../../../api/middleware/errorHandler.js";
import { requestContext } from "../../../api/middleware/requestContext.js";
import type { AppState } from "../../../api/types.js";
import { receiveUpload } from "../../../api/upload/receive.js";
import type { UploadLimits } from "../../../api/upload/types.js";
import { FileBlobStore } from "../../../services/storage/FileBlobStore.js";
import { createLogger } from "../../../utils/logger.js";
import { formBody, type FormPart, formType } from "../../support/multipart.js";
import { RawRequest } from "../../support/sockets.js";

const LIMITS: UploadLimits = { maxBytes: 3 * 1024 ** 2, minBytesPerSecond: 1000, windowMs: 400 };
const FIELDS = ["source"];
const LARGE = 32 * 1024 ** 2;
const limitsOf = ({ large }: { large?: unknown }): UploadLimits =>
  large === undefined ? LIMITS : { ...LIMITS, maxBytes: LARGE };
const FILE = { name: "file", filename: "a.json", type: "application/json" } as const;

/** Posts a body and passes the text of the answer on. */
const SENDER = `
  const { parentPort, workerData: { address, type, body } } = require("node:worker_threads");
  fetch(address, { method: "POST", body, headers: { "content-type": type } })
    .then((response) => response.text())
    .then((text) => parentPort.postMessage(text));`;

interface Problem {
  readonly code: string;
  readonly errors: readonly { readonly path: string; readonly code: string }[];
}

describe("api/upload", () => {
  let folder: string;
  let server: http.Server;
  let port: number;

  before(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), "playlog-upload-"));
    const blobs = new FileBlobStore(folder, { maxUsedShare: 1, enoughFreeBytes: 0 });
    const app = new Koa<AppState>();
    app.silent = true; // broken connections are the point here
    const log = createLogger({ level: "error", format: "json" }, { service: "test" });
    app.use(requestContext(log));
    app.use(errorHandler);
    app.use(async (ctx) => {
      await sleep(Number(ctx.query["wait"] ?? 0));
      const { blob, filename, fields } = await receiveUpload(ctx, blobs, limitsOf(ctx.query), FIELDS);
      ctx.body = {
        key: blob.key,
        sizeBytes: blob.sizeBytes,
        sha256: blob.sha256.toString("hex"),
        filename,
        fields,
      };
    });
    server = app.listen(0, "127.0.0.1");
    await new Promise((listening) => server.once("listening", listening));
    port = (server.address() as AddressInfo).port;
  });
  afterEach(async () => {
    for (const name of await readdir(folder)) await rm(path.join(folder, name));
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
    await rm(folder, { recursive: true });
  });

  const send = (body: Buffer | string, type?: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}/`, {
      method: "POST",
      body,
      headers: type === undefined ? {} : { "content-type": type },
    });
  const sendForm = (parts: readonly FormPart[], options?: { end: boolean }): Promise<Response> =>
    send(formBody(parts, options), formType);
  const refused = async (response: Response): Promise<Problem & { readonly status: number }> => {
    expect(response.headers.get("content-type")).to.equal("application/problem+json");
    expect(await readdir(folder), "left behind").to.deep.equal([]);
    return { ...((await response.json()) as Problem), status: response.status };
  };
  const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
  /** Waits until nothing is being written any more. */
  const settled = async (): Promise<string[]> => {
    for (let tries = 0; tries < 50 && (await readdir(folder)).length > 0; tries += 1) await sleep(20);
    return readdir(folder);
  };

  it("stores a raw body and a file in a form byte by byte", async () => {
    const zip = Buffer.concat([Buffer.from("PK\x03\x04"), randomBytes(1_500_000)]);
    const form = await sendForm([
      { name: "source", body: "spotify" },
      { ...FILE, filename: 'my data "2024".zip'.replaceAll('"', "%22"), type: "application/zip", body: zip },
    ]);
    for (const response of [await send(zip, "application/zip"), form]) {
      expect(response.status).to.equal(200);
      const stored = (await response.json()) as { key: string; sizeBytes: number; sha256: string };
      expect(stored).to.include({ sizeBytes: zip.length, sha256: sha256(zip) });
      expect(sha256(await readFile(path.join(folder, stored.key)))).to.equal(sha256(zip));
    }
  });

  it("takes a file whose bytes keep looking like the end of the form as fast as they can be stored, not faster", async () => {
    const zip = Buffer.concat([Buffer.from("PK\x03\x04"), randomBytes(LARGE - 4)]);
    const workerData = {
      address: `http://127.0.0.1:${port}/?large=yes`,
      type: formType,
      body: formBody([{ ...FILE, type: "application/zip", body: zip }]),
    };
    // A thread of its own: from this one it could send no faster than the server takes it.
    const sender = new Worker(SENDER, { eval: true, workerData });
    const [answer] = (await once(sender, "message")) as [string];
    expect(JSON.parse(answer)).to.include({ sizeBytes: zip.length, sha256: sha256(zip) });
  });

  it("gives the name and the fields of a form", async () => {
    const response = await sendForm([
      { ...FILE, filename: "endsong_0.json", body: "[]" },
      { name: "source", type: "text/plain", body: "spotify" },
    ]);
    expect(await response.json()).to.deep.include({
      filename: "endsong_0.json",
      fields: { source: "spotify" },
    });
  });

  it("streams a file in a form that has a name and no type, or an empty one, like any other", async () => {
    const body = Buffer.alloc(2 * 1024 ** 2, "1"); // far more than a field may have
    for (const headers of [[], ["Content-Type: "]]) {
      const response = await sendForm([
        { name: "file", filename: "a.json", headers, body },
        { name: "source", body: "spotify" },
      ]);
      expect(response.status).to.equal(200);
      const fields = { source: "spotify" };
      expect(await response.json()).to.deep.include({ filename: "a.json", sizeBytes: body.length, fields });
    }
  });

  it("reads a body that had arrived as a whole before anybody looked at it", async () => {
    const form = formBody([{ ...FILE, body: "[]" }]);
    for (const [body, type] of [
      ["[]", "application/json"],
      [form, formType],
    ] as const) {
      const headers = { "content-type": type };
      const response = await fetch(`http://127.0.0.1:${port}/?wait=30`, { method: "POST", body, headers });
      expect(response.status, type).to.equal(200);
    }
  });

  for (const [what, bytes] of [
    ["a ZIP archive", Buffer.from("PK\x03\x04 and so on")],
    ["an empty ZIP archive", Buffer.from("PK\x05\x06".padEnd(22, "\0"))],
    ["gzip", gzipSync("[]")],
    ["JSON", Buffer.from("[]")],
    ["text with a byte order mark", Buffer.from("\ufeff[]")],
    ["UTF-16", Buffer.from("\ufeffa,b\r\n", "utf16le")],
    ["Latin-1", Buffer.from("künstler;titel", "latin1")],
    ["text with a stray NUL", Buffer.from(`${"a,b\n".repeat(50)}\0`)],
  ] as const) {
    it(`takes ${what}, whatever the content type says`, async () => {
      for (const type of ["application/octet-stream", "image/png", undefined]) {
        expect((await send(bytes, type)).status, String(type)).to.equal(200);
      }
      expect((await sendForm([{ ...FILE, type: "image/png", body: bytes }])).status).to.equal(200);
    });
  }

  for (const [what, bytes] of [
    ["PNG", Buffer.from("89504e470d0a1a0a0000000d49484452", "hex")],
    ["JPEG", Buffer.concat([Buffer.from("ffd8ffe000104a46494600", "hex"), randomBytes(5000)])],
    ["RAR", Buffer.from("526172211a070100", "hex")],
    ["random bytes", randomBytes(2000)],
  ] as const) {
    it(`refuses ${what} under the name of an archive`, async () => {
      expect(await refused(await send(bytes, "application/zip"))).to.include({ status: 415 });
      const form = await sendForm([{ ...FILE, filename: "a.zip", type: "application/zip", body: bytes }]);
      expect(await refused(form)).to.include({ status: 415, code: "unsupported_media_type" });
    });
  }

  it("refuses an empty file", async () => {
    expect(await refused(await send("", "application/json"))).to.include({ status: 400, code: "empty_file" });
    const form = await sendForm([{ ...FILE, body: "" }]);
    expect(await refused(form)).to.include({ status: 400, code: "empty_file" });
  });

  it("refuses a length over the limit before it reads the body", async () => {
    const request = new RawRequest(port);
    await request.head("POST", "/", { "Content-Length": LIMITS.maxBytes + 1 });
    expect(await request.answer()).to.include({ status: 413 });
    expect(await readdir(folder)).to.deep.equal([]);
    request.destroy();
  });

  it("refuses a chunked body when it crosses the limit, and closes the connection", async () => {
    for (const form of [false, true]) {
      const request = new RawRequest(port);
      await request.head("POST", "/", {
        "Transfer-Encoding": "chunked",
        ...(form ? { "Content-Type": formType } : {}),
      });
      if (form) await request.chunk(formBody([{ ...FILE, body: "[" }], { end: false }));
      const megabyte = Buffer.alloc(1024 ** 2, "1");
      for (let sent = 0; sent < 40 && !request.answered; sent += 1) await request.chunk(megabyte);
      expect(await request.answer()).to.include({ status: 413 });
      expect(await settled()).to.deep.equal([]);
      request.end();
      await request.closed;
    }
  });

  it("refuses a form with a file over the limit though its length was not announced", async () => {
    const body = Buffer.alloc(LIMITS.maxBytes + 1, "1");
    expect(await refused(await sendForm([{ ...FILE, body }]))).to.include({ status: 413 });
  });

  it("keeps nothing of a body that is cut short", async () => {
    for (const type of ["application/json", formType]) {
      const request = new RawRequest(port);
      await request.head("POST", "/", { "Content-Length": 100_000, "Content-Type": type });
      await request.write(formBody([{ ...FILE, body: "[".padEnd(50_000) }], { end: false }));
      for (let tries = 0; tries < 100 && (await readdir(folder)).length === 0; tries += 1) await sleep(10);
      expect(await readdir(folder), "under way").to.have.length(1);
      request.destroy();
      expect(await settled()).to.deep.equal([]);
    }
  });

  it("gives up on a client that sends too slowly, not on one that is slow for a moment", async () => {
    const slow = new RawRequest(port);
    await slow.head("POST", "/", { "Transfer-Encoding": "chunked", "Content-Type": "application/json" });
    for (let sent = 0; sent < 100 && !slow.answered; sent += 1) {
      await slow.chunk(Buffer.from("["));
      await sleep(20);
    }
    expect(await slow.answer()).to.include({ status: 408 });
    slow.destroy();
    expect(await settled()).to.deep.equal([]);

    const steady = new RawRequest(port);
    await steady.head("POST", "/", {
      "Transfer-Encoding": "chunked",
      "Content-Type": "application/json",
      Connection: "close",
    });
    for (let sent = 0; sent < 8; sent += 1) {
      await steady.chunk(Buffer.alloc(1000, "1"));
      await sleep(150);
    }
    await steady.chunk(Buffer.alloc(0));
    expect(await steady.answer()).to.include({ status: 200 });
  });

  it("refuses a second file, however many follow", async () => {
    for (const part of [FILE, { name: FILE.name, filename: FILE.filename }]) {
      const parts = Array.from({ length: 50 }, () => ({ ...part, body: "[]" }));
      expect(await refused(await sendForm(parts))).to.include({ status: 413, code: "too_many_files" });
    }
  });

  for (const [what, parts, expected] of [
    ["a field that is not known", [{ name: "colour", body: "red" }], { path: "colour", code: "unknown" }],
    ["__proto__", [{ name: "__proto__", body: "x" }], { path: "__proto__", code: "unknown" }],
    [
      "a file under another name",
      [{ ...FILE, name: "upload", body: "[]" }],
      { path: "upload", code: "unknown" },
    ],
    ["a file that is a plain field", [{ name: "file", body: "[]" }], { path: "file", code: "not_a_file" }],
    [
      "a field given twice",
      [{ ...FILE, body: "[]" }, ...Array.from({ length: 2 }, () => ({ name: "source", body: "spotify" }))],
      { path: "source", code: "repeated" },
    ],
    ["no file", [{ name: "source", body: "spotify" }], { path: "file", code: "required" }],
    [
      "base64",
      [{ ...FILE, headers: ["Content-Transfer-Encoding: base64"], body: "W10=" }],
      { path: "file", code: "transfer_encoding" },
    ],
  ] as const) {
    it(`names what is wrong with a form: ${what}`, async () => {
      const problem = await refused(await sendForm(parts));
      expect(problem.status).to.equal(400);
      expect(problem.errors[0]).to.include(expected);
    });
  }

  it("refuses forms that cannot be read, and keeps nothing", async () => {
    const good = formBody([{ ...FILE, body: "[]" }]);
    for (const response of [
      await send(good, "multipart/form-data"),
      await send(good.subarray(0, -20), formType),
      await sendForm([{ ...FILE, body: "[]" }], { end: false }),
      await send("", formType),
      await send("no form at all", formType),
    ]) {
      expect(await refused(response)).to.include({ status: 400 });
    }
  });

  it("bounds what surrounds the file", async () => {
    const header = `X-Long: ${"x".repeat(30 * 1024 ** 2)}`;
    const body = formBody([{ ...FILE, headers: [header], body: "[]" }]);
    const before = process.memoryUsage().rss;
    const request = new RawRequest(port);
    await request.head("POST", "/", { "Transfer-Encoding": "chunked", "Content-Type": formType });
    for (let at = 0; at < body.length && !request.answered; at += 65_536) {
      await request.chunk(body.subarray(at, at + 65_536));
    }
    expect(await request.answer()).to.include({ status: 413 });
    request.destroy();
    expect(process.memoryUsage().rss - before).to.be.lessThan(64 * 1024 ** 2);

    const fields = Array.from({ length: 11 }, () => ({ name: "source", body: "x" }));
    expect(await refused(await sendForm(fields))).to.include({ status: 413 });
    expect(await refused(await sendForm([{ name: "source", body: "x".repeat(5000) }]))).to.include({
      status: 413,
    });
  });
});
