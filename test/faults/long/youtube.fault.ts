/**
 * YouTube's history from the consent of its owner to the plays: the api, a worker and Temporal in earnest, against a
 * stand-in for Google. The worker dies while Google is waited for.
 */
import { Client as TemporalClient, Connection } from "@temporalio/client";
import { expect } from "chai";
import { importWorkflowId } from "../../../workflows/contracts.js";
import { activity, videoUrl } from "../../services/import/formats/youtubeSamples.js";
import { expectStatus } from "../../support/expectStatus.js";
import type { Client } from "../../support/http.js";
import type { RunningEntry } from "../../support/processes.js";
import { startStandIn } from "../../support/providers/standIn.js";
import type { StandIn } from "../../support/providers/standIn.js";
import { testStack } from "../../support/stack.js";
import { until } from "../../support/until.js";
import { zip } from "../../support/zip.js";
import { createService } from "../service.js";
import type { Service } from "../service.js";

const FIRST_POLL_MS = 1000;
const PATIENCE_MS = 30_000;
const SONGS = [1, 2, 3];

const INITIATE = "/v1/portabilityArchive:initiate";

/** As Google delivers it; one of the videos is no music. */
const archive = zip([
  {
    name: "Portability/My Activity/YouTube/MyActivity.json",
    data: JSON.stringify([
      ...SONGS.map((n) =>
        activity({ title: `Watched Song ${n}`, url: videoUrl(n), time: `2024-0${n}-01T10:00:00.000Z` }),
      ),
      activity({ header: "YouTube", title: "Watched a lecture", url: videoUrl(4), channel: "A university" }),
    ]),
  },
]);

describe("YouTube's history, from the consent to the plays", function () {
  this.timeout(120_000);
  let service: Service;
  let standIn: StandIn;
  let temporal: Connection;
  let worker: RunningEntry;
  let client: Client;
  let connectionId: string;

  before(async () => {
    [service, standIn, temporal] = await Promise.all([
      createService(),
      startStandIn(),
      Connection.connect({ address: testStack().temporalAddress }),
    ]);
    standIn.google.files = [archive];
    [, worker] = await Promise.all([service.startApi(standIn.environment), startWorker()]);
    client = service.client(await service.user());
  });
  after(async () => {
    await temporal.close();
    await service.close();
    await standIn.stop();
  });

  const startWorker = () =>
    service.startWorker({ ...standIn.environment, GOOGLE_FIRST_POLL_MS: String(FIRST_POLL_MS) });
  const show = async (id: string) => (await client.get(`/api/v1/imports/${id}`)).body;
  async function closed(id: string) {
    await service.closed(id);
    return show(id);
  }
  const asked = (path: string): number => standIn.seen.filter(({ url }) => url.pathname === path).length;
  /** Newest first. */
  const history = async (): Promise<string[]> =>
    expectStatus(200, await client.get("/api/v1/listening-history")).body.data.map(
      (listen: { playedAt: string; track: { title: string }; artist: { name: string } }) =>
        `${listen.playedAt} ${listen.track.title} by ${listen.artist.name}`,
    );
  /** Begins a sync; gives its id. */
  const sync = async (): Promise<string> =>
    expectStatus(202, await client.post(`/api/v1/connections/${connectionId}/sync`)).body.id as string;
  /** The timers in the history of its run, in milliseconds. */
  async function timersOf(id: string): Promise<number[]> {
    const handle = new TemporalClient({ connection: temporal }).workflow.getHandle(importWorkflowId(id, 1));
    return ((await handle.fetchHistory()).events ?? []).flatMap(({ timerStartedEventAttributes: timer }) => {
      const { seconds, nanos } = timer?.startToFireTimeout ?? {};
      return timer == null ? [] : [Number(seconds ?? 0) * 1000 + Number(nanos ?? 0) / 1e6];
    });
  }

  it("is connected by a consent in the browser", async () => {
    const { body } = expectStatus(200, await client.post("/api/v1/connections/youtube/authorize"));
    const consent = await fetch(body.url as string, { redirect: "manual" });
    const back = await fetch(consent.headers.get("location") ?? "", { redirect: "manual" });
    expect(back.status).to.equal(200);
    const { data } = expectStatus(200, await client.get("/api/v1/connections")).body;
    expect(data).to.have.length(1);
    expect(data[0]).to.include({ provider: "youtube", status: "active" });
    connectionId = data[0].id as string;
  });

  it("is asked for, waited for by a timer of Temporal that outlives the worker, fetched and imported", async () => {
    standIn.google.polls = Infinity; // until the worker is dead
    const id = await sync();
    await until("it waits for Google", async () => (await show(id)).waiting !== null, PATIENCE_MS);
    expect((await show(id)).waiting.reason).to.equal("rate_limited");
    await worker.stop("SIGKILL");
    expect(asked(INITIATE)).to.equal(1);
    standIn.google.polls = 1;
    worker = await startWorker();

    const job = await closed(id);
    expect(job).to.include({ status: "completed", kind: "sync" });
    expect(job.counts).to.include({ read: 4, inserted: 3, duplicate: 0, skipped: 1, rejected: 0 });
    // The one in which the worker died, and another after the question that was answered with "not yet".
    expect(await timersOf(id)).to.have.length.of.at.least(2);
    expect([asked(INITIATE), asked("/archive/0")]).to.deep.equal([1, 1]);
    expect(await history()).to.deep.equal([
      "2024-03-01T10:00:00.000Z Song 3 by Sault",
      "2024-02-01T10:00:00.000Z Song 2 by Sault",
      "2024-01-01T10:00:00.000Z Song 1 by Sault",
    ]);
  });

  it("brings nothing a second time, and asks for what is new only", async () => {
    standIn.google.polls = 0;
    const before = await history();
    const job = await closed(await sync());
    expect(job.status).to.equal("completed");
    expect(job.counts).to.include({ read: 4, inserted: 0, duplicate: 3, skipped: 1, rejected: 0 });
    expect(await history()).to.deep.equal(before);
    const bodies = [...standIn.google.jobs.values()].map((archiveJob) => archiveJob.body);
    expect(bodies[0]).to.not.have.property("startTime");
    expect(bodies[1]).to.have.property("startTime").that.is.a("string");
  });
});
