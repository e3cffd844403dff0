import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";

/** Names of XML namespaces look like addresses and are none. */
const NAMESPACE = /xmlns(:\w+)?="http:\/\/www\.w3\.org\/[^"]*"/g;

describe("the documentation page", () => {
  let app: TestApp;
  let html: string;
  before(async () => {
    app = await startTestApp();
    html = expectStatus(200, await app.anonymous.get("/docs")).body as string;
  });
  after(() => app.close());

  const links = (): string[] =>
    [...html.matchAll(/\s(?:src|href)="([^"]*)"/g)]
      .map((match) => match[1] ?? "")
      .filter((link) => !link.startsWith("#"));

  it("is a page at exactly /docs", async () => {
    const answer = await app.anonymous.get("/docs");
    expect(answer.headers.get("content-type")).to.match(/^text\/html/);
    expect(html).to.include('<div id="swagger-ui">');
    for (const other of ["/api/docs", "/x/docs", "/docs/", "/docs/spec", "/docs/index.html"]) {
      expect((await app.anonymous.get(other)).status, other).to.equal(404);
    }
  });

  it("names no other origin, so that it works offline", () => {
    expect(html.replaceAll(NAMESPACE, "")).to.not.match(/https?:|\/\/[a-z]/);
    for (const link of links()) expect(link).to.match(/^\/docs\/assets\/[\w.-]+$/);
  });

  it("has no script and no style of its own, as its policy demands", async () => {
    const answer = await app.anonymous.get("/docs");
    const policy = answer.headers.get("content-security-policy") ?? "";
    expect(policy)
      .to.match(/^default-src 'self';/)
      .and.not.match(/unsafe/);
    expect(html)
      .to.not.match(/<script(?![^>]*\ssrc=)/)
      .and.not.match(/<style|\sstyle=|\son\w+=/);
  });

  it("gets every file it asks for, with the right type", async () => {
    const types: Record<string, RegExp> = { css: /^text\/css/, js: /javascript/, png: /^image\/png/ };
    expect(links().length).to.be.at.least(5);
    for (const link of links()) {
      const answer = expectStatus(200, await app.anonymous.get(link));
      expect(answer.headers.get("content-type")).to.match(types[link.split(".").at(-1) ?? ""] ?? /^$/);
      expect(String(answer.body).length, link).to.be.above(50);
    }
  });

  it("shows the document of this server", async () => {
    const { body } = await app.anonymous.get("/docs/assets/init.js");
    expect(body)
      .to.include('"url":"/openapi.json"')
      .and.not.match(/petstore|https?:/);
  });

  it("serves nothing else from its folder", async () => {
    for (const file of [
      "package.json",
      "index.html",
      "..%2Fpackage.json",
      "%2e%2e%2fpackage.json",
      "__proto__",
      "toString",
    ]) {
      expect((await app.anonymous.get(`/docs/assets/${file}`)).status, file).to.equal(404);
    }
  });
});
