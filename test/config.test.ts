import { generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { expect } from "chai";
import { ConfigError, loadConfig, settingNames } from "../config.js";

const REQUIRED = {
  DATABASE_URL: "postgres://me@localhost/playlog",
  REDIS_URL: "redis://localhost:6379",
  TEMPORAL_ADDRESS: "localhost:7233",
};

const randomKey = (byte: number): string => Buffer.alloc(32, byte).toString("base64");

const ecKey = (namedCurve: string): string =>
  generateKeyPairSync("ec", { namedCurve }).privateKey.export({ type: "pkcs8", format: "pem" }).toString();

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

  it("needs no Temporal where imports run on BullMQ, and its Redis unless it has one of its own", () => {
    const { TEMPORAL_ADDRESS: _, ...others } = REQUIRED;
    const bull = { ...others, IMPORT_QUEUE: "bullmq" };
    expect(loadConfig(REQUIRED).queue.kind).to.equal("temporal");
    expect(loadConfig(bull).queue).to.deep.equal({
      kind: "bullmq",
      bull: { name: "playlog-imports", redisUrl: REQUIRED.REDIS_URL },
    });
    const own = loadConfig({ ...bull, BULL_QUEUE: "mine", BULL_REDIS_URL: "redis://other:6379" });
    expect(own.queue.bull).to.deep.equal({ name: "mine", redisUrl: "redis://other:6379" });
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

  it("knows the providers that are set up, and the keys of tokens", () => {
    const none = loadConfig(REQUIRED);
    expect(none.tokenKeys).to.deep.equal([]);
    expect(none.providers).to.deep.equal({
      timeoutMs: 10_000,
      responseMaxBytes: 16 * 1024 ** 2,
      pagesMax: 200,
      ownOrigins: [],
      spotify: undefined,
      youtube: undefined,
      listenbrainz: { url: "https://api.listenbrainz.org" },
      lastfm: undefined,
      apple: undefined,
    });
    const { providers, tokenKeys } = loadConfig({
      ...REQUIRED,
      TOKEN_KEYS: `new:${randomKey(1)}, old.1:${randomKey(2)}`,
      SPOTIFY_CLIENT_ID: "abc",
      SPOTIFY_API_URL: "http://127.0.0.1:9/",
      GOOGLE_CLIENT_ID: "id",
      GOOGLE_CLIENT_SECRET: "secret",
      LASTFM_API_KEY: "key",
      APPLE_TEAM_ID: "TEAM",
      APPLE_KEY_ID: "KEY",
      APPLE_PRIVATE_KEY: ecKey("P-256").replaceAll("\n", "\\n"),
    });
    expect(tokenKeys.map(({ id, key }) => [id, key.length, key[0]])).to.deep.equal([
      ["new", 32, 1],
      ["old.1", 32, 2],
    ]);
    expect(providers.ownOrigins).to.deep.equal(["http://127.0.0.1:9"]);
    expect(providers.spotify).to.deep.equal({
      clientId: "abc",
      apiUrl: "http://127.0.0.1:9",
      accountsUrl: "https://accounts.spotify.com",
    });
    expect(providers.youtube).to.include({
      clientSecret: "secret",
      tokenUrl: "https://oauth2.googleapis.com",
    });
    expect(providers.lastfm).to.deep.equal({ apiKey: "key", url: "https://ws.audioscrobbler.com" });
    expect(providers.apple).to.include({ teamId: "TEAM", keyId: "KEY" });
    const apple = loadConfig({ ...REQUIRED, APPLE_DEVELOPER_TOKEN: "a.b.c" }).providers.apple;
    expect(apple).to.deep.equal({ url: "https://api.music.apple.com", developerToken: "a.b.c" });
  });

  it("says which settings of a provider are missing", () => {
    expect(problems({ ...REQUIRED, SPOTIFY_CLIENT_SECRET: "x" })).to.deep.equal([
      "SPOTIFY_CLIENT_ID must be set, too",
    ]);
    expect(problems({ ...REQUIRED, GOOGLE_CLIENT_ID: "x", APPLE_KEY_ID: "x" })).to.deep.equal([
      "GOOGLE_CLIENT_SECRET must be set, too",
      "APPLE_TEAM_ID and APPLE_PRIVATE_KEY must be set, too",
    ]);
    const apple = { APPLE_TEAM_ID: "T", APPLE_KEY_ID: "K", APPLE_PRIVATE_KEY: ecKey("P-384") };
    expect(problems({ ...REQUIRED, ...apple })[0]).to.match(/^APPLE_PRIVATE_KEY must have the form/);
    const both = { ...apple, APPLE_PRIVATE_KEY: ecKey("P-256"), APPLE_DEVELOPER_TOKEN: "t" };
    expect(problems({ ...REQUIRED, ...both })[0]).to.include("exclude each other");
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
    ["IMPORT_QUEUE", "bull"],
    ["BULL_QUEUE", "a:b"],
    ["BULL_REDIS_URL", "http://localhost:6379"],
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
    ["TOKEN_KEYS", randomKey(1)],
    ["TOKEN_KEYS", `a:${Buffer.alloc(31).toString("base64")}`],
    ["TOKEN_KEYS", `a:${randomKey(1)},a:${randomKey(2)}`],
    ["SPOTIFY_API_URL", "ftp://example.org"],
    ["LASTFM_API_KEY", "two words"],
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
