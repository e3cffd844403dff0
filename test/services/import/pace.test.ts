import { expect } from "chai";
import { Pace } from "../../../services/import/pace.js";
import { ReaderNotice, ReaderWatch } from "../../../services/readers.js";
import { startTestApp, type TestApp } from "../../support/app.js";
import { buildUser } from "../../support/factories.js";
import { until } from "../../support/until.js";

describe("the pace of imports", () => {
  const piece = (name: string, done: string[]) => async (pace: Pace) => {
    const end = await pace.turn();
    done.push(`${name} begins`);
    await new Promise((resolve) => setImmediate(resolve));
    done.push(`${name} ends`);
    end?.();
  };
  const two = async (pace: Pace): Promise<string[]> => {
    const done: string[] = [];
    await Promise.all([piece("first", done)(pace), piece("second", done)(pace)]);
    return done;
  };

  it("lets two files go on at once while nobody reads", async () => {
    const pace = new Pace(() => Promise.resolve(false));
    expect(await pace.turn()).to.equal(null);
    expect(await two(pace)).to.deep.equal(["first begins", "second begins", "first ends", "second ends"]);
  });

  it("lets one after the other go on while somebody reads", async () => {
    const pace = new Pace(() => Promise.resolve(true));
    expect(await two(pace)).to.deep.equal(["first begins", "first ends", "second begins", "second ends"]);
  });

  it("waits no longer for a turn than it may, and ends one twice without harm", async () => {
    const pace = new Pace(() => Promise.resolve(true), 20);
    const first = await pace.turn();
    const second = await pace.turn();
    second!();
    second!();
    first!();
    expect(await two(pace)).to.deep.equal(["first begins", "first ends", "second begins", "second ends"]);
  });
});

describe("who reads", () => {
  let app: TestApp;
  before(async () => {
    app = await startTestApp();
  });
  after(() => app.close());

  const seen = () => new ReaderWatch(app.deps.redis).active();

  it("is seen by whoever looks, for some seconds after a page, and not for looking after an import or at the health", async () => {
    const client = app.as(await buildUser(app));
    await app.anonymous.get("/api/v1/health");
    await client.get("/api/v1/imports");
    expect(await seen()).to.equal(false);
    await client.get("/api/v1/listening-history");
    await until("a reader", seen);
    await until("the reader to have gone", async () => !(await seen()));
  });

  it("is nobody without Redis", async () => {
    const gone = { set: () => Promise.resolve(false), get: () => Promise.resolve(null) };
    new ReaderNotice(gone).note();
    expect(await new ReaderWatch(gone).active()).to.equal(false);
  });
});
