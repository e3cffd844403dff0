import { randomBytes } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { expect } from "chai";
import { Redis } from "ioredis";
import { DatabaseListener } from "../../../db/listener.js";
import { announceChange, historyOf } from "../../../db/queries/cacheVersions.js";
import { CacheVersions } from "../../../services/cache/CacheVersions.js";
import {
  type CacheOutcome,
  type Loaded,
  PAGE_MAX_BYTES,
  PAGE_SECONDS,
  PageCache,
  type PageRequest,
} from "../../../services/cache/PageCache.js";
import { decodePage, encodePage } from "../../../services/cache/page.js";
import { RedisService } from "../../../services/cache/RedisService.js";
import { KEPT_PER_USER } from "../../../services/cache/StoredKeys.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { testStack } from "../../support/stack.js";
import { insertUser } from "../../support/users.js";
import { quietLog } from "../import/importing.js";

describe("the cache of answers", () => {
  let db: TestDatabase;
  let listener: DatabaseListener;
  let redis: RedisService;
  let plain: Redis;
  let namespace: string;
  let cache: PageCache;
  let outcomes: CacheOutcome[];
  let user: string;

  before(async () => {
    db = await createTestDatabase();
    namespace = `test-${randomBytes(6).toString("hex")}`;
    listener = new DatabaseListener({ databaseUrl: db.url, log: quietLog });
    redis = new RedisService({ url: testStack().redisUrl, log: quietLog, namespace });
    plain = new Redis(testStack().redisUrl);
    const versions = new CacheVersions({ listener, pool: db.database.pool });
    cache = new PageCache({ redis, versions, observe: (_route, outcome) => outcomes.push(outcome) });
    await Promise.all([listener.start(), redis.connect()]);
  });
  beforeEach(async () => {
    outcomes = [];
    user = await insertUser(db.database.pool);
  });
  after(async () => {
    const keys = await plain.keys(`${namespace}:*`);
    if (keys.length > 0) await plain.del(keys);
    plain.disconnect();
    redis.close();
    await listener.close();
    await db.drop();
  });

  const request = (fields: Partial<PageRequest> = {}): PageRequest => ({
    userId: user,
    route: "/plays/:id",
    input: "[]",
    scopes: [historyOf(user)],
    encoding: "identity",
    ...fields,
  });
  const loading =
    (text: string, keep = true) =>
    (): Promise<Loaded> =>
      Promise.resolve({ body: Buffer.from(text), keep });
  const unexpected = (): Promise<Loaded> => Promise.reject(new Error("asked again"));
  const change = async (): Promise<void> => {
    await announceChange(db.database.pool, historyOf(user));
    await cache.seen();
  };
  const keysOf = async (): Promise<string[]> => {
    await redis.ping(); // behind what was written without anybody waiting for it
    return plain.keys(`${namespace}:page:${user}:*`);
  };
  const asText = async (wanted: PageRequest, load: () => Promise<Loaded>): Promise<string> =>
    (await cache.get(wanted, load)).body.toString();

  it("asks once, then answers with the same bytes", async () => {
    const first = await cache.get(request(), loading("one"));
    expect(await cache.get(request(), unexpected)).to.deep.equal(first);
    expect(outcomes).to.deep.equal(["miss", "hit"]);
  });

  it("asks once for many at the same time, and gives all of them its error", async () => {
    let asked = 0;
    const slow = async (): Promise<Loaded> => {
      asked += 1;
      await plain.ping();
      return { body: Buffer.from("one"), keep: true };
    };
    const answers = await Promise.all(Array.from({ length: 20 }, () => asText(request(), slow)));
    expect([asked, ...new Set(answers)]).to.deep.equal([1, "one"]);

    const failing = request({ input: "[1]" });
    const failures = await Promise.allSettled([
      cache.get(failing, () => Promise.reject(new Error("no"))),
      cache.get(failing, unexpected),
    ]);
    expect(failures.map((one) => one.status === "rejected" && String(one.reason))).to.deep.equal([
      "Error: no",
      "Error: no",
    ]);
    expect(await asText(failing, loading("yes"))).to.equal("yes");
  });

  it("keeps apart users, routes, inputs and encodings", async () => {
    const other = await insertUser(db.database.pool);
    const requests = [
      request(),
      request({ userId: other }),
      request({ route: "/tracks" }),
      request({ input: "[1]" }),
      request({ encoding: "gzip" }),
    ];
    for (const [index, one] of requests.entries()) await cache.get(one, loading(`answer ${index}`));
    for (const [index, one] of requests.entries())
      expect(await asText(one, unexpected)).to.equal(`answer ${index}`);
  });

  it("keeps nothing under a key without a user, a route and a version, and each with a time to live", async () => {
    await change();
    await cache.get(request({ input: JSON.stringify(["a secret search"]) }), loading("one"));
    const [key = "", ...more] = await keysOf();
    expect(more).to.deep.equal([]);
    expect(key).to.match(
      new RegExp(`^${namespace}:page:${user}:/plays/:id:[\\w-]{22}:identity:history ${user} \\d{16}$`),
    );
    expect(await plain.pttl(key)).to.be.within(1, PAGE_SECONDS * 1100);
  });

  it("asks again after a change, and takes away what was kept before it", async () => {
    await cache.get(request(), loading("old"));
    const [before] = await keysOf();
    await change();
    expect(await asText(request(), loading("new"))).to.equal("new");
    expect(await asText(request(), unexpected)).to.equal("new");
    const after = await keysOf();
    expect(after).to.have.length(1);
    expect(after).to.not.include(before);
  });

  it("never gives an answer that was read before a change to somebody who asks after it", async () => {
    for (let n = 0; n < 20; n += 1) {
      let finish: (loaded: Loaded) => void = () => undefined;
      const begun = new Promise<void>((resolve) => {
        void cache.get(request(), () => {
          resolve();
          return new Promise((answer) => (finish = answer));
        });
      });
      await begun; // it has read its version, and now reads the old state
      await change();
      finish({ body: Buffer.from("old"), keep: true });
      expect(await asText(request(), loading(`new ${n}`))).to.equal(`new ${n}`);
      await change();
    }
  });

  it("compresses what gets smaller, and only for those who can read it", async () => {
    const text = "abc ".repeat(1000);
    const gzip = await cache.get(request({ encoding: "gzip" }), loading(text));
    expect(gzip.encoding).to.equal("gzip");
    expect(gunzipSync(gzip.body).toString()).to.equal(text);
    const identity = await cache.get(request(), loading(text));
    expect([identity.encoding, identity.body.toString()]).to.deep.equal(["identity", text]);
    expect(identity.etag).to.equal(gzip.etag);
    const small = await cache.get(request({ encoding: "gzip", input: "[2]" }), loading("abc"));
    expect(small.encoding).to.equal("identity");
  });

  it("keeps nothing that is too large, or that depends on more than was said", async () => {
    await cache.get(request(), loading("x".repeat(PAGE_MAX_BYTES + 1)));
    await cache.get(request({ input: "[1]" }), loading("another's", false));
    expect(outcomes).to.deep.equal(["bypass", "bypass"]);
    expect(await keysOf()).to.deep.equal([]);
    await cache.get(request(), loading("x".repeat(PAGE_MAX_BYTES)));
    expect(await keysOf()).to.have.length(1);
  });

  it("keeps a bounded number of answers for one user, those used last", async () => {
    const many = Array.from({ length: KEPT_PER_USER + 10 }, (_, n) => request({ input: `[${n}]` }));
    for (const one of many) await cache.get(one, loading("x"));
    expect(await keysOf()).to.have.length(KEPT_PER_USER);
    expect(await asText(many.at(-1)!, unexpected)).to.equal("x");
    expect(await asText(many[0]!, loading("again"))).to.equal("again");
  });

  it("asks again when what is kept is not ours or not whole", async () => {
    const page = await cache.get(request(), loading("right"));
    const [key = ""] = await keysOf();
    const whole = encodePage(page);
    expect(decodePage(whole)).to.deep.equal(page);
    for (const rubbish of [
      Buffer.alloc(0),
      Buffer.from("{}"),
      whole.subarray(0, -1),
      Buffer.concat([whole, Buffer.from("x")]),
      Buffer.from(whole.toString().replace(/^1/, "2")),
      randomBytes(200),
    ]) {
      await plain.set(key, rubbish, "PX", 60_000);
      expect(await asText(request(), loading("right")), rubbish.toString()).to.equal("right");
    }
    await plain.del(key);
    await plain.lpush(key, "another type");
    expect(await asText(request(), loading("right"))).to.equal("right");
  });
});
