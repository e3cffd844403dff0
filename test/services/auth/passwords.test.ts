import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { Gate, PasswordHasher } from "../../../services/auth/passwords.js";
import { UnavailableError } from "../../../utils/errors.js";

describe("passwords", () => {
  const hasher = new PasswordHasher({ cost: 4 });

  it("are verified by their own hash, which differs each time", async () => {
    const [first, second] = await Promise.all([hasher.hash("correct horse"), hasher.hash("correct horse")]);
    expect(first).to.not.equal(second);
    for (const hash of [first, second]) {
      expect(hash).to.match(/^\$2b\$04\$.{53}$/);
      expect(await hasher.verify("correct horse", hash)).to.equal(true);
      expect(await hasher.verify("correct horsf", hash)).to.equal(false);
    }
  });

  it("count in every byte, past the 72 that bcrypt reads and past NUL", async () => {
    const hash = await hasher.hash(`${"x".repeat(200)}a`);
    expect(await hasher.verify(`${"x".repeat(200)}b`, hash)).to.equal(false);
    expect(await hasher.verify("", await hasher.hash("\u0000"))).to.equal(false);
  });

  it("are the same in every composition, ligatures and full width included", async () => {
    const hash = await hasher.hash("\u00e9 \ufb01 \uff21");
    expect(await hasher.verify("e\u0301 fi A", hash)).to.equal(true);
  });

  it("cost the same work when there is no account to check", async () => {
    const slow = new PasswordHasher({ cost: 10 });
    const hash = await slow.hash("correct horse");
    await slow.verify("warm up", null);
    /** The best of three: other work on the machine only ever makes it slower. */
    const time = async (target: string | null): Promise<number> => {
      const runs: number[] = [];
      for (let run = 0; run < 3; run += 1) {
        const started = performance.now();
        expect(await slow.verify("wrong horse", target)).to.equal(false);
        runs.push(performance.now() - started);
      }
      return Math.min(...runs);
    };
    expect((await time(null)) / (await time(hash))).to.be.within(0.4, 2.5);
  });
});

describe("the gate before the hashes", () => {
  const code = async (work: Promise<unknown>): Promise<string> => {
    try {
      await work;
      return "done";
    } catch (error) {
      expect(error).to.be.instanceOf(UnavailableError);
      return (error as UnavailableError).code;
    }
  };

  it("runs so many at once and no more, in order", async () => {
    const gate = new Gate(2, 32, 2000);
    const order: number[] = [];
    let running = 0;
    let most = 0;
    const job = (n: number) => async (): Promise<void> => {
      order.push(n);
      running += 1;
      most = Math.max(most, running);
      await sleep(5);
      running -= 1;
    };
    await Promise.all(Array.from({ length: 12 }, (_, n) => gate.run(job(n))));
    expect(most).to.equal(2);
    expect(order).to.deep.equal(Array.from({ length: 12 }, (_, n) => n));
  });

  it("goes on after a job that failed", async () => {
    const gate = new Gate(1, 32, 2000);
    const failed = gate.run(() => Promise.reject(new Error("no"))).catch((error: Error) => error.message);
    const next = gate.run(() => Promise.resolve("yes"));
    expect(await Promise.all([failed, next])).to.deep.equal(["no", "yes"]);
  });

  it("refuses at once when too many wait", async () => {
    const gate = new Gate(1, 3, 2000);
    const outcomes = Promise.all(Array.from({ length: 8 }, () => code(gate.run(() => sleep(20)))));
    expect((await outcomes).filter((outcome) => outcome === "busy")).to.have.length(4);
  });

  it("refuses at once when the turn would come too late", async () => {
    const gate = new Gate(1, 100, 100);
    await gate.run(() => sleep(40));
    const started = performance.now();
    const outcomes = Array.from({ length: 10 }, () => code(gate.run(() => sleep(40))));
    expect(await outcomes.at(-1)).to.equal("busy");
    expect(performance.now() - started).to.be.below(200);
    await Promise.all(outcomes);
  });

  it("refuses one whose turn did not come in time", async () => {
    const gate = new Gate(1, 100, 50);
    const first = gate.run(() => sleep(1000));
    const started = performance.now();
    expect(await code(gate.run(() => sleep(1)))).to.equal("busy");
    expect(performance.now() - started).to.be.within(40, 800);
    await first;
    expect(await code(gate.run(() => sleep(1)))).to.equal("done");
  });
});
