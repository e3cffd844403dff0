/**
 * Two clients pause, resume, cancel, retry and undo one import in any order, while the worker and the api are killed under
 * it. Whatever they did, it can be brought to the end that an undisturbed one has, and be taken back. FAULT_SEED repeats a
 * run, FAULT_ROUNDS changes its length.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { digestOf, json, play, plays, podcast } from "../../services/import/importing.js";
import type { Client } from "../../support/http.js";
import type { RunningEntry } from "../../support/processes.js";
import { zip } from "../../support/zip.js";
import { expectNothingLeft, outcomeOf, undisturbed } from "../outcome.js";
import type { Outcome } from "../outcome.js";
import { createService } from "../service.js";
import type { Service } from "../service.js";
import { randomFrom, seedOfRun } from "./random.js";

const UPLOAD = zip([
  { name: "a.json", data: json([...plays(2500), podcast(1), { ...play(1), ts: "?" }]) },
  { name: "b.json", data: json(plays(2498, 2000)) },
]);
/** A thousand of its plays are in UPLOAD as well. */
const OTHER = json([...plays(1000, 1500), ...plays(500, 10_000)]);
const ROUNDS = Number(process.env["FAULT_ROUNDS"] ?? 4);
const ACTIONS_A_CLIENT = 12;
const KILLS = 2;
const LONGEST_PAUSE_MS = 250;
const END_WITHIN_MS = 120_000;
const ACTIONS = ["pause", "pause", "resume", "resume", "resume", "cancel", "retry", "retry", "undo"] as const;
const seed = seedOfRun();

type Random = () => number;

describe(`an import under orders in any order, seed ${seed}`, function () {
  this.timeout(400_000);
  let service: Service;
  let worker: RunningEntry;
  let calm: Outcome;
  let calmOther: Outcome;

  before(async () => {
    service = await createService({ env: { RATE_LIMIT: "off" } });
    calm = await undisturbed(service.database.pool, UPLOAD);
    calmOther = await undisturbed(service.database.pool, OTHER, { filename: "upload.json" });
    [, worker] = await Promise.all([service.startApi(), service.startWorker()]);
  });
  after(() => service.close());

  /** Every answer that arrives is one that the contract knows, with counts that add up. */
  async function giveOrders(client: Client, id: string, random: Random): Promise<void> {
    for (let n = 0; n < ACTIONS_A_CLIENT; n += 1) {
      const action = ACTIONS[Math.floor(random() * ACTIONS.length)] ?? "pause";
      const answer = await client.post(`/api/v1/imports/${id}/${action}`).catch(() => null); // the api may be dead
      if (answer !== null) {
        expect(answer.status, action).to.be.oneOf([200, 202, 409]);
        if (answer.status === 409) expect(answer.body.code).to.equal("wrong_state");
        else expectSum(answer.body.counts);
      }
      await sleep(random() * LONGEST_PAUSE_MS);
    }
  }

  async function killParts(random: Random): Promise<void> {
    for (let kill = 0; kill < KILLS; kill += 1) {
      await sleep(300 + random() * 1500);
      if (random() < 0.7) {
        await worker.stop("SIGKILL");
        worker = await service.startWorker();
      } else {
        await service.api.stop("SIGKILL");
        await service.startApi();
      }
    }
  }

  const NEXT: Readonly<Record<string, string>> = { paused: "resume", failed: "retry", cancelled: "retry" };

  /** Does what an owner would do to have it all; gives the id of the import that has it. */
  async function bringToItsEnd(client: Client, first: string, again: () => Promise<string>): Promise<string> {
    let id = first;
    for (const deadline = Date.now() + END_WITHIN_MS; Date.now() < deadline; await sleep(100)) {
      const { status } = (await client.get(`/api/v1/imports/${id}`)).body as { status: string };
      if (status === calm.status) return id;
      if (status === "undone") id = await again();
      else if (NEXT[status] !== undefined) await client.post(`/api/v1/imports/${id}/${NEXT[status]}`);
    }
    throw new Error(`import ${id} came to no end`);
  }

  for (let round = 0; round < ROUNDS; round += 1) {
    it(`can still be finished, and taken back, round ${round}`, async () => {
      const random = randomFrom(seed + round);
      const user = await service.user();
      const client = service.client(user);
      const accept = () => service.accept(user, UPLOAD);
      const [first, other] = [await accept(), await service.accept(user, OTHER)];
      const orders = [1, 2].map(() => giveOrders(client, first, random));
      await Promise.all([...orders, killParts(random)]);

      const id = await bringToItsEnd(client, first, accept);
      await service.closed(other);
      const { pool } = service.database;
      // Which of the two brought the plays that are in both is left to chance; the rest is not.
      const { counts, ledger, batches } = await outcomeOf(pool, id);
      const { read, skipped, rejected } = calm.counts as Record<string, number>;
      expect(counts).to.include({ read, skipped, rejected });
      expect({ ledger, batches }).to.deep.equal({ ledger: calm.ledger, batches: calm.batches });
      expect((await digestOf(pool, user.id)).rows).to.equal(4498 + 500);

      expect((await client.post(`/api/v1/imports/${id}/undo`)).status).to.equal(202);
      while ((await client.get(`/api/v1/imports/${id}`)).body.status !== "undone") await sleep(50);
      expect(await digestOf(pool, user.id)).to.deep.equal(calmOther.history);
      await expectNothingLeft(pool, service.spoolDir);
    });
  }
});

function expectSum(counts: Readonly<Record<string, number>>): void {
  const { read, inserted = NaN, duplicate = NaN, skipped = NaN, rejected = NaN } = counts;
  expect(read).to.equal(inserted + duplicate + skipped + rejected);
}
