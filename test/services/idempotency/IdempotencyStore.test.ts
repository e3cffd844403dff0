import { randomUUID } from "node:crypto";
import { expect } from "chai";
import {
  IdempotencyStore,
  parseIdempotencyKey,
  RequestInProgressError,
  type StoredAnswer,
} from "../../../services/idempotency/IdempotencyStore.js";
import { IdempotencyMismatchError, UnauthorizedError, ValidationError } from "../../../utils/errors.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { rejection } from "../../support/rejection.js";
import { insertUser } from "../../support/users.js";

const hash = (text: string): Buffer => Buffer.from(text.padEnd(32));
const answer: StoredAnswer = { status: 202, headers: { Location: "/x" }, body: { z: 1, a: [null, "ä"] } };

describe("services/idempotency/IdempotencyStore", () => {
  let db: TestDatabase;
  let store: IdempotencyStore;
  let userId: string;

  before(async () => {
    db = await createTestDatabase();
    store = new IdempotencyStore({ pool: db.database.pool });
  });
  beforeEach(async () => {
    userId = await insertUser(db.database.pool);
  });
  after(() => db.drop());

  const age = (key: string, interval: string) =>
    db.database.pool.query(
      "update idempotency_keys set created_at = now() - $3::interval where user_id = $1 and key = $2",
      [userId, key, interval],
    );

  it("runs a request once and gives its answer again, in the same order of fields", async () => {
    let runs = 0;
    const work = () => {
      runs += 1;
      return Promise.resolve(answer);
    };

    const first = await store.once(userId, "k", hash("a"), work);
    const again = await store.once(userId, "k", hash("a"), work);

    expect(first).to.deep.equal({ answer, replayed: false });
    expect(again).to.deep.equal({ answer, replayed: true });
    expect(JSON.stringify(again.answer.body)).to.equal(JSON.stringify(answer.body));
    expect(runs).to.equal(1);
  });

  it("keeps the keys of two users apart", async () => {
    const other = await insertUser(db.database.pool);
    await store.once(userId, "k", hash("a"), () => Promise.resolve(answer));
    const theirs = await store.once(other, "k", hash("b"), () => Promise.resolve({ ...answer, status: 200 }));
    expect(theirs.replayed).to.equal(false);
  });

  it("refuses another request under a used key", async () => {
    await store.once(userId, "k", hash("a"), () => Promise.resolve(answer));
    const error = await rejection(store.once(userId, "k", hash("b"), () => Promise.resolve(answer)));
    expect(error).to.be.instanceOf(IdempotencyMismatchError);
  });

  it("says so while the first request is still running, in this process and in another", async () => {
    const elsewhere = new IdempotencyStore({ pool: db.database.pool });
    let finish = (_: StoredAnswer): void => {};
    const started = new Promise<void>((running) => {
      void store.hold(userId, "k", () =>
        store.once(userId, "k", hash("a"), () => {
          running();
          return new Promise<StoredAnswer>((resolve) => (finish = resolve));
        }),
      );
    });
    await started;

    const here = await rejection(store.hold(userId, "k", () => Promise.resolve()));
    const there = await rejection(elsewhere.once(userId, "k", hash("a"), () => Promise.resolve(answer)));
    finish(answer);

    expect(here).to.be.instanceOf(RequestInProgressError);
    expect(there).to.be.instanceOf(RequestInProgressError);
  });

  it("frees the key of a request that failed", async () => {
    const failure = new Error("no");
    expect(await rejection(store.once(userId, "k", hash("a"), () => Promise.reject(failure)))).to.equal(
      failure,
    );
    const next = await store.once(userId, "k", hash("b"), () => Promise.resolve(answer));
    expect(next.replayed).to.equal(false);
  });

  it("forgets answers after 24 hours, and claims of a process that died after a minute", async () => {
    await store.once(userId, "old", hash("a"), () => Promise.resolve(answer));
    await age("old", "23 hours 59 minutes");
    expect((await store.once(userId, "old", hash("a"), () => Promise.resolve(answer))).replayed).to.equal(
      true,
    );
    await age("old", "24 hours 1 second");
    expect((await store.once(userId, "old", hash("b"), () => Promise.resolve(answer))).replayed).to.equal(
      false,
    );

    await db.database.pool.query(
      "insert into idempotency_keys (user_id, key, request_hash) values ($1, 'dead', $2)",
      [userId, hash("a")],
    );
    const early = await rejection(store.once(userId, "dead", hash("a"), () => Promise.resolve(answer)));
    expect(early).to.be.instanceOf(RequestInProgressError);
    await age("dead", "61 seconds");
    expect((await store.once(userId, "dead", hash("a"), () => Promise.resolve(answer))).replayed).to.equal(
      false,
    );
  });

  it("tells of an account that is gone", async () => {
    const error = await rejection(store.once(randomUUID(), "k", hash("a"), () => Promise.resolve(answer)));
    expect(error).to.be.instanceOf(UnauthorizedError);
  });

  it("takes keys of 1 to 255 printable characters", () => {
    expect(parseIdempotencyKey(undefined)).to.equal(undefined);
    expect(parseIdempotencyKey("a".repeat(255))).to.equal("a".repeat(255));
    for (const bad of ["", "a b", "a".repeat(256), "\u007f", "é"]) {
      expect(() => parseIdempotencyKey(bad), bad).to.throw(ValidationError);
    }
  });
});
