import { setTimeout as sleep } from "node:timers/promises";
import { Writable } from "node:stream";
import { expect } from "chai";
import { createLogger, type LogFields, type LogSettings, withLogFields } from "../../utils/logger.js";

const collect = (settings: Partial<LogSettings> = {}) => {
  let text = "";
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  const log = createLogger({ level: "debug", format: "json", ...settings }, { service: "test" }, stream);
  const lines = (): LogFields[] =>
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as LogFields);
  return { log, lines, text: () => text };
};

describe("the logger", () => {
  it("writes one JSON line per event, with time, level, service and fields", () => {
    const { log, lines } = collect();
    log.child({ part: 3 }).warn("part failed\nreally", { rows: 7n, at: new Date(0), message: "mine" });
    expect(lines()).to.have.length(1);
    expect(lines()[0]).to.include({
      level: "warn",
      service: "test",
      message: "part failed\nreally",
      part: 3,
      rows: "7",
    });
    expect(lines()[0]).to.include({ at: "1970-01-01T00:00:00.000Z" });
    expect(lines()[0]?.["timestamp"]).to.match(/^\d{4}-.*Z$/);
  });

  it("lets no field pass for what the line itself is made of", () => {
    const { log, lines } = collect();
    log.info("mine", { message: "theirs", level: "error", timestamp: "never", service: "other" });
    expect(lines()[0]).to.include({ message: "mine", level: "info", service: "other" });
    expect(lines()[0]?.["timestamp"]).to.match(/^\d{4}-.*Z$/);
  });

  it("is quiet below its level", () => {
    const { log, text } = collect({ level: "warn" });
    log.info("no");
    log.debug("no");
    expect(text()).to.equal("");
    log.error("yes");
    expect(text()).to.not.equal("");
  });

  const secret = "canary-7f3a";
  for (const key of [
    "password",
    "newPassword",
    "passwordHash",
    "accessToken",
    "refresh_token",
    "Authorization",
    "JWT_SECRET",
    "email",
    "e-mail",
    "set-cookie",
    "apiKey",
    "api_key",
    "login",
    "body",
    "credentials",
  ]) {
    it(`never writes what is called ${key}, however deep`, () => {
      const { log, text } = collect();
      log.info("x", { [key]: secret, inner: [{ [key]: { [key]: secret, also: [secret] } }] });
      expect(text()).to.not.include(secret);
      expect(text()).to.include("[redacted]");
    });
  }

  it("hides access tokens and passwords of URLs inside other text", () => {
    const { log, text } = collect();
    const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
    log.error(`sent ${token}`, { url: `postgres://me:${secret}@db:5432/x`, header: `Bearer ${token}` });
    expect(text()).to.not.include(secret);
    expect(text()).to.not.include(token);
    expect(text()).to.include("postgres://me:[redacted]@db:5432/x");
  });

  it("hides refresh tokens, API tokens and e-mail addresses inside other text, and no address of a server", () => {
    const { log, text } = collect();
    const refresh = `01890000-0000-7000-8000-000000000000.12.${"a".repeat(43)}`;
    const api = `playlog_${"b".repeat(43)}`;
    log.error(`sent ${refresh} and ${api}`, {
      detail: `Key (a)=(${secret}@example.org) for <${secret}.x@mail.example.org>`,
    });
    log.info("playlog_reconciler_last_pass_timestamp_seconds", { at: "redis://cache.example.org:6379" });
    expect(text()).to.not.include(secret).and.not.include("aaaa").and.not.include("bbbb");
    expect(text()).to.include("redis://cache.example.org:6379").and.include("timestamp_seconds");
  });

  it("writes one line, whatever is in it, and nothing that a terminal obeys", () => {
    const nasty = 'x\r\n{"level":"error"}\u001b[31m\u0085\u2028\u2029\u009b1m\u007f';
    for (const format of ["json", "pretty"] as const) {
      const { log, text } = collect({ format });
      log.warn(nasty, { name: nasty, inner: { name: nasty } });
      expect(text().trimEnd()).to.not.match(/[\p{Cc}\u2028\u2029]/u);
      expect(text()).to.include("u001b[31m").and.include("u009b1m");
    }
  });

  it("tells errors of the database by code and constraint, without the row", () => {
    const { log, text, lines } = collect();
    const error = Object.assign(new Error(`insert into users ... Key (email)=(${secret})`), {
      code: "23505",
      severity: "ERROR",
      detail: `Key (email)=(${secret}) already exists`,
      constraint: "users_email_once",
      table: "users",
    });
    log.error("failed", { error: new Error("outer", { cause: error }) });
    expect(text()).to.not.include(secret);
    const { cause } = lines()[0]?.["error"] as { cause: LogFields };
    expect(cause).to.include({ code: "23505", constraint: "users_email_once", table: "users" });
    expect(cause["stack"]).to.be.an("array").that.is.not.empty;
  });

  it("survives what cannot be written as JSON", () => {
    const { log, lines } = collect();
    const ring: Record<string, unknown> = {};
    ring["self"] = ring;
    let deep: unknown = "bottom";
    for (let level = 0; level < 10_000; level += 1) deep = [deep];
    log.info("odd", { ring, deep, bytes: Buffer.alloc(9), bad: new Date(NaN), long: "x".repeat(10_000) });
    expect(lines()[0]).to.include({ bytes: "[9 bytes]", bad: "[invalid date]" });
    expect(String(lines()[0]?.["long"]).length).to.be.below(2100);
  });

  it("adds the fields of the surrounding work to each line, across awaits, and not to others", async () => {
    const { log, lines } = collect();
    await Promise.all(
      ["a", "b"].map((requestId) =>
        withLogFields({ requestId }, async () => {
          await sleep(5);
          withLogFields({ step: 1 }, () => log.info(requestId));
        }),
      ),
    );
    log.info("outside");
    for (const line of lines().slice(0, 2)) {
      expect(line["requestId"]).to.equal(line["message"]);
      expect(line["step"]).to.equal(1);
    }
    expect(lines()[2]).to.not.have.any.keys("requestId", "step");
  });

  it("can write for people instead", () => {
    const { log, text } = collect({ format: "pretty" });
    log.info("ready", { url: "http://localhost", ports: [1, 2], token: secret });
    expect(text()).to.match(
      /^\d\d:\d\d:\d\d\.\d{3} INFO {2}test: ready url=http:\/\/localhost ports=\[1,2\]/,
    );
    expect(text()).to.not.include(secret);
  });
});
