import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect } from "chai";
import { ConfigError, loadConfig, settingNames } from "../config.js";

const REQUIRED = {
  DATABASE_URL: "postgres://me@localhost/playlog",
  REDIS_URL: "redis://localhost:6379",
  TEMPORAL_ADDRESS: "localhost:7233",
};

function problems(env: Readonly<Record<string, string>>): readonly string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigError);
    return (error as ConfigError).problems;
  }
}

/** Names and values of an env file, as a shell or docker compose reads it. */
function parseEnvFile(text: string): Record<string, string> {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return Object.fromEntries(
    lines.map((line) => {
      const [name = "", ...rest] = line.split("=");
      return [name, rest.join("=")];
    }),
  );
}

describe("loadConfig", () => {
  it("needs no more than three addresses", () => {
    const config = loadConfig(REQUIRED);
    expect(config.http).to.deep.equal({ host: "127.0.0.1", port: 3000, publicUrl: "http://localhost:3000" });
    expect(config.auth).to.deep.equal({ bcryptCost: 10, registration: "open", jwtPreviousSecrets: [] });
    expect(config.imports.batchRows).to.equal(10_000);
    expect(config.home).to.equal(path.resolve(".playlog"));
    expect(config.spoolDir).to.equal(path.join(config.home, "spool"));
  });

  it("takes what it is given, and only from there", () => {
    const config = loadConfig({
      ...REQUIRED,
      PORT: "0",
      PUBLIC_URL: "https://play.example.org/",
      DB_POOL_MAX: "3",
    });
    expect(config.http.publicUrl).to.equal("https://play.example.org");
    expect(config.http.port).to.equal(0);
    expect(config.database.poolMax).to.equal(3);
  });

  it("reads limits and lists of proxies", () => {
    const { limits } = loadConfig({
      ...REQUIRED,
      RATE_LIMIT: "off",
      RATE_SEARCH: "7/30",
      TRUSTED_PROXIES: "loopback, 10.1.2.3,2001:db8::/48",
    });
    expect(limits.enabled).to.equal(false);
    expect(limits.rates.search).to.deep.equal({ max: 7, seconds: 30 });
    expect(limits.rates.login).to.deep.equal({ max: 100, seconds: 900 });
    expect(limits.trustedProxies).to.deep.equal(["127.0.0.0/8", "::1/128", "10.1.2.3", "2001:db8::/48"]);
    expect(loadConfig(REQUIRED).limits).to.deep.include({ enabled: true, trustedProxies: [] });
  });

  it("takes an empty value for none, and ignores what is not its own", () => {
    const config = loadConfig({ ...REQUIRED, PORT: "", JWT_SECRET: "", PATH: "/bin", PORTS: "x" });
    expect(config.http.port).to.equal(3000);
    expect(config.auth).to.not.have.property("jwtSecret");
  });

  it("names every problem at once, and no value", () => {
    const secret = "hunter2";
    const found = problems({
      DATABASE_URL: `mysql://root:${secret}@db`,
      REDIS_URL: secret,
      PORT: "70000",
      JWT_SECRET: secret,
      REGISTRATION: secret,
      BCRYPT_COST: "99",
      LOG_LEVEL: secret,
      DB_POOL_MAX: "many",
      IMPORT_BATCH_ROWS: "0",
    });
    const names = found.map((problem) => problem.split(" ")[0]);
    expect(names).to.have.members([
      "DATABASE_URL",
      "REDIS_URL",
      "TEMPORAL_ADDRESS",
      "PORT",
      "JWT_SECRET",
      "REGISTRATION",
      "BCRYPT_COST",
      "LOG_LEVEL",
      "DB_POOL_MAX",
      "IMPORT_BATCH_ROWS",
    ]);
    expect(found).to.include("TEMPORAL_ADDRESS is required");
    expect(found).to.include("JWT_SECRET must be at least 32 characters");
    expect(found).to.include("REGISTRATION must be one of open, invite, closed");
    expect(found).to.include("DB_POOL_MAX must be a whole number");
    expect(new ConfigError(found).message).to.include(`${found.length} problem(s)`);
    expect(new ConfigError(found).message).to.not.include(secret);
  });

  const bad: readonly (readonly [name: string, value: string])[] = [
    ["TEMPORAL_ADDRESS", "localhost"],
    ["TEMPORAL_ADDRESS", "http://localhost:7233"],
    ["PUBLIC_URL", "javascript:alert(1)"],
    ["PORT", "1.5"],
    ["SHUTDOWN_GRACE_MS", "-1"],
    ["UPLOAD_MAX_BYTES", "4G"],
    ["LOG_FORMAT", "JSON"],
    ["LOG_SQL", "yes"],
    ["RATE_LIMIT", "true"],
    ["RATE_READS", "100"],
    ["RATE_LOGIN", "0/60"],
    ["TRUSTED_PROXIES", "10.0.0.0/33"],
    ["TRUSTED_PROXIES", "proxy.example.org"],
    ["TRUSTED_PROXIES", "loopback,"],
    ["JWT_PREVIOUS_SECRETS", `${"a".repeat(32)},short`],
  ];
  for (const [name, value] of bad) {
    it(`refuses ${name}=${value}`, () => {
      const [problem, ...more] = problems({ ...REQUIRED, [name]: value });
      expect(problem).to.match(new RegExp(`^${name} `));
      expect(more).to.deep.equal([]);
    });
  }
});

describe(".env.example", () => {
  it("names every setting with its default, and nothing else", async () => {
    const text = await readFile(path.join(import.meta.dirname, "../.env.example"), "utf8");
    const example = parseEnvFile(text);
    expect(Object.keys(example)).to.have.members([...settingNames]);
    expect(loadConfig({ ...example, ...REQUIRED })).to.deep.equal(loadConfig(REQUIRED));
    // Copied to .env as it is, it must not send `npm start` looking for servers that nobody has.
    expect(Object.keys(REQUIRED).map((name) => example[name])).to.deep.equal(["", "", ""]);
  });
});
