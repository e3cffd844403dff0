import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { ProviderError, RateLimitedError } from "../../../../services/connections/errors.js";
import { isPublicAddress } from "../../../../services/connections/http/addresses.js";
import {
  createProviderDownload,
  createProviderFetch,
  type ProviderFetch,
} from "../../../../services/connections/http/providerFetch.js";
import { waitUntil } from "../../../../services/connections/http/retryAfter.js";
import { rejection } from "../../../support/rejection.js";

const DAY_MS = 24 * 60 * 60 * 1000;

describe("requests to providers", () => {
  let server: Server;
  let origin: string;
  let fetch: ProviderFetch;
  let seen: string[];
  let answer: RequestListener;

  before(async () => {
    server = createServer((request, response) => {
      seen.push(`${request.method} ${request.url}`);
      answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    fetch = createProviderFetch({ timeoutMs: 5000, maxBytes: 100_000, allowedOrigins: [origin] });
  });

  beforeEach(() => {
    seen = [];
    answer = (_request, response) => response.end('{"ok":true}');
  });

  after(() => {
    server.closeAllConnections();
    server.close();
  });

  async function failure(request: Parameters<ProviderFetch>[0], through = fetch): Promise<ProviderError> {
    const error = await rejection(through(request));
    expect(error).to.be.instanceOf(ProviderError);
    return error as ProviderError;
  }

  it("bring status, headers and JSON of a server that the operator named", async () => {
    answer = (request, response) => {
      let body = "";
      request.on("data", (chunk) => (body += chunk));
      request.on("end", () => {
        const { authorization, "content-type": type } = request.headers;
        response.writeHead(201, { "x-thing": "1" }).end(JSON.stringify({ body, authorization, type }));
      });
    };
    const { status, headers, json } = await fetch({
      method: "POST",
      url: `${origin}/token`,
      headers: { authorization: "Bearer abc" },
      body: new URLSearchParams({ code: "a b&c" }),
    });
    expect(status).to.equal(201);
    expect(headers.get("X-Thing")).to.equal("1");
    expect(json()).to.deep.equal({
      body: "code=a+b%26c",
      authorization: "Bearer abc",
      type: "application/x-www-form-urlencoded",
    });
  });

  it("follow no redirect, to the cloud's metadata or anywhere", async () => {
    for (const location of ["http://169.254.169.254/latest/meta-data", `${origin}/elsewhere`]) {
      answer = (_request, response) => response.writeHead(302, { location }).end();
      const error = await failure({ url: `${origin}/first` });
      expect(error.retryable).to.equal(false);
      expect(error.message).to.include("redirect").and.not.include("169.254");
    }
    expect(seen).to.deep.equal(["GET /first", "GET /first"]);
  });

  it("go to no private address, however it is written", async () => {
    const { port } = new URL(origin);
    for (const host of [
      "127.0.0.1",
      "2130706433",
      "0x7f.1",
      "127.1",
      "0.0.0.0",
      "10.1.2.3",
      "172.31.255.255",
      "192.168.0.1",
      "100.64.0.1",
      "169.254.169.254",
      "[::1]",
      "[::]",
      "[::ffff:127.0.0.1]",
      "[::ffff:7f00:1]",
      "[64:ff9b::7f00:1]",
      "[fe80::1]",
      "[fd00::1]",
      "[2002:7f00:1::]",
    ]) {
      const error = await failure({ url: `https://${host}:${port}/` });
      expect(error.message, host).to.include("not one of a provider on the public internet");
      expect(error.retryable, host).to.equal(false);
    }
    expect(seen).to.deep.equal([]);
  });

  it("ask for TLS everywhere else", async () => {
    const error = await failure({ url: "http://example.org/" });
    expect(error.message).to.include("public internet");
  });

  it("refuse a name that stands for a private address when it is resolved", async () => {
    const { port } = new URL(origin);
    const error = await failure({ url: `https://localhost:${port}/` });
    expect(error.message).to.include("stands for an address that is not public");
    expect(error.retryable).to.equal(false);
    expect(seen).to.deep.equal([]);
  });

  it("tell public addresses from others", () => {
    for (const address of ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::5"]) {
      expect(isPublicAddress(address), address).to.equal(true);
    }
    for (const address of [
      "203.0.113.9",
      "255.255.255.255",
      "2001:db8::1",
      "ff02::1",
      "::ffff:8.8.8.8",
      "x",
    ]) {
      expect(isPublicAddress(address), address).to.equal(false);
    }
  });

  it("read no more of a body than they may, whether or not its length was said", async () => {
    let written = 0;
    answer = (_request, response) => {
      response.writeHead(200, { "content-length": 500_000_000 });
      const chunk = Buffer.alloc(64 * 1024, 0x20);
      const more = (): void => {
        while (!response.destroyed && written < 500_000_000) {
          written += chunk.length;
          if (!response.write(chunk)) return void response.once("drain", more);
        }
      };
      more();
    };
    const error = await failure({ url: `${origin}/huge` });
    expect(error.message).to.include("more than 100000 bytes");
    expect(error.retryable).to.equal(false);
    expect(written).to.be.below(50_000_000);
    answer = (_request, response) => response.end(Buffer.alloc(2000, 0x20));
    expect((await failure({ url: origin, maxBytes: 1999 })).message).to.include("more than 1999 bytes");
    expect((await fetch({ url: origin, maxBytes: 2000 })).body.length).to.equal(2000);
  });

  it("give up an answer that never comes, and one that comes in drops", async () => {
    answer = () => {};
    const silent = await failure({ url: origin, timeoutMs: 150 });
    expect(silent.retryable).to.equal(true);
    expect(silent.message).to.include("in time");
    answer = (_request, response) => {
      const drops = setInterval(() => response.write("x"), 20);
      response.on("close", () => clearInterval(drops));
    };
    expect((await failure({ url: origin, timeoutMs: 150 })).message).to.include("in time");
  });

  it("end with the reason of the signal they are given", async () => {
    answer = () => {};
    const controller = new AbortController();
    const asked = rejection(fetch({ url: origin, signal: controller.signal }));
    const reason = new Error("the worker stops");
    controller.abort(reason);
    expect(await asked).to.equal(reason);
  });

  it("say that a page of HTML, half an answer, or no server is not the user's fault", async () => {
    answer = (_request, response) => response.end("<html>Sorry</html>");
    const { json } = await fetch({ url: origin });
    expect(json).to.throw(ProviderError, "no JSON").that.has.property("retryable", true);

    answer = (_request, response) => {
      response.writeHead(200, { "content-length": 100 });
      response.write('{"half":', () => response.destroy());
    };
    const half = await failure({ url: origin });
    expect(half.retryable).to.equal(true);

    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
    const port = (gone.address() as AddressInfo).port;
    await new Promise((resolve) => gone.close(resolve));
    const nobody = `http://127.0.0.1:${port}`;
    const through = createProviderFetch({ timeoutMs: 5000, maxBytes: 1000, allowedOrigins: [nobody] });
    const error = await failure({ url: `${nobody}/?api_key=secret` }, through);
    expect(error.retryable).to.equal(true);
    expect(error.message).to.include("could not be reached").and.not.include("secret");
  });

  it("turn a 429 into the time until which to wait, unless they are to hand it through", async () => {
    answer = (_request, response) => response.writeHead(429, { "retry-after": "80000" }).end();
    const error = await rejection(fetch({ url: origin }));
    expect(error).to.be.instanceOf(RateLimitedError);
    expect((error as RateLimitedError).until - Date.now()).to.be.within(79_990_000, 80_000_000);
    expect((await fetch({ url: origin, handles429: true })).status).to.equal(429);
  });

  it("understand Retry-After in every form, and wait a day at most", () => {
    const now = Date.UTC(2026, 0, 1);
    const waits = (headers: Record<string, string>): number => waitUntil(headers, now) - now;
    expect(waits({ "retry-after": "7" })).to.equal(7000);
    expect(waits({ "retry-after": "1000000000" })).to.equal(DAY_MS);
    expect(waits({ "retry-after": "Thu, 01 Jan 2026 00:02:00 GMT" })).to.equal(120_000);
    expect(waits({ "retry-after": "Thu, 01 Jan 2099 00:00:00 GMT" })).to.equal(DAY_MS);
    expect(waits({ "retry-after": "Wed, 31 Dec 2025 00:00:00 GMT" })).to.equal(1000);
    expect(waits({ "retry-after": "0" })).to.equal(1000);
    for (const unsaid of ["", "-5", "soon", "NaN"]) expect(waits({ "retry-after": unsaid })).to.equal(60_000);
    expect(waits({})).to.equal(60_000);
    expect(waits({ "x-ratelimit-reset-in": "9" })).to.equal(9000);
  });

  it("hand a large body on while it comes, under the same bounds", async () => {
    const download = createProviderDownload({
      timeoutMs: 5000,
      maxBytes: 1_000_000,
      allowedOrigins: [origin],
    });
    answer = (_request, response) => response.end(Buffer.alloc(300_000, 1));
    let bytes = 0;
    for await (const chunk of download({ url: origin }) as AsyncIterable<Buffer>) bytes += chunk.length;
    expect(bytes).to.equal(300_000);

    const read = async (request: Parameters<typeof download>[0]): Promise<void> => {
      for await (const chunk of download(request)) void chunk;
    };
    const cut = await rejection(read({ url: origin, maxBytes: 299_999 }));
    expect(cut).to.be.instanceOf(ProviderError).that.has.property("retryable", false);
    answer = (_request, response) => response.writeHead(403).end();
    expect(await rejection(read({ url: origin }))).to.be.instanceOf(ProviderError);
    answer = (_request, response) => response.writeHead(429).end();
    expect(await rejection(read({ url: origin }))).to.be.instanceOf(RateLimitedError);

    const left = new Promise<void>((resolve) => {
      answer = (_request, response) => {
        response.on("close", resolve);
        response.write(Buffer.alloc(100_000, 1));
      };
    });
    const abandoned = download({ url: origin });
    await new Promise((resolve) => abandoned.once("data", resolve));
    abandoned.destroy();
    await left;
  });
});
