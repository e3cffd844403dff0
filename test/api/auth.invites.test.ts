import { expect } from "chai";
import { createInvite } from "../../services/auth/invites.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { registration } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { rejection } from "../support/rejection.js";

const UNKNOWN = "AAAAAAAAAAAAAAAAAAAAAA";

describe("registration by invite", () => {
  let app: TestApp;
  let open: TestApp;
  before(async () => {
    app = await startTestApp({ env: { REGISTRATION: "invite" } });
    open = await startTestApp({ beside: app, env: { REGISTRATION: "open" } });
  });
  after(async () => {
    await open.close();
    await app.close();
  });

  const invite = async (): Promise<string> => (await createInvite(app.deps.database.pool)).code;
  const register = (fields: object, by = app): Promise<Answer> =>
    by.anonymous.post("/api/v1/auth/register", { ...registration(), ...fields });
  /** What two answers must agree in. */
  const said = ({ status, body }: Answer) => [status, { ...body, requestId: "" }] as const;
  const accounts = async (): Promise<number> => {
    const { rows } = await app.deps.database.pool.query<{ n: number }>(
      "select count(*)::int as n from users",
    );
    return rows[0]?.n ?? 0;
  };

  it("takes an invite for the first account, too, which becomes admin", async () => {
    const refused = await register({});
    expect(refused.status).to.equal(403);
    expect(refused.body.code).to.equal("invite_required");
    expect(await accounts()).to.equal(0);
    const first = expectStatus(201, await register({ invite: await invite() }));
    expect(first.body.user.role).to.equal("admin");
    const second = expectStatus(201, await register({ invite: await invite() }));
    expect(second.body.user.role).to.equal("user");
  });

  it("answers alike for codes that never were, are used or too old", async () => {
    const { pool } = app.deps.database;
    const [used, old] = [await invite(), await createInvite(pool)];
    expectStatus(201, await register({ invite: used }));
    await pool.query("update invites set expires_at = now() where id = $1", [old.id]);
    const answers = [];
    for (const code of [UNKNOWN, used, old.code]) answers.push(said(await register({ invite: code })));
    expect(answers[0]?.[0]).to.equal(403);
    expect(answers[0]?.[1]).to.include({ code: "invite_invalid" });
    for (const answer of answers) expect(answer).to.deep.equal(answers[0]);
  });

  it("says nothing about names that are taken to whoever has no invite", async () => {
    const taken = registration();
    expectStatus(201, await register({ ...taken, invite: await invite() }));
    expect(said(await register(taken))).to.deep.equal(said(await register({})));
    expect(said(await register({ ...taken, invite: UNKNOWN }))).to.deep.equal(
      said(await register({ invite: UNKNOWN })),
    );
  });

  it("gives one of ten people who come with one code an account", async () => {
    const code = await invite();
    const before = await accounts();
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, n) => register({ invite: code }, n % 2 === 0 ? app : open)),
    );
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([201, ...Array<number>(9).fill(403)]);
    expect(await accounts()).to.equal(before + 1);
  });

  it("uses no code up for an account that was not made", async () => {
    const [taken, code] = [registration(), await invite()];
    expectStatus(201, await register({ ...taken, invite: await invite() }));
    expect((await register({ ...taken, invite: code })).status).to.equal(409);
    // Two at once with one name: the one that loses in the database keeps its code.
    const name = registration();
    const [one, two] = [code, await invite()];
    const answers = await Promise.all([one, two].map((each) => register({ ...name, invite: each })));
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([201, 409]);
    const unused = answers[0]?.status === 409 ? one : two;
    expectStatus(201, await register({ invite: unused }));
  });

  it("takes a code also where none is needed, and then it is used up", async () => {
    const code = await invite();
    expect((await register({ invite: UNKNOWN }, open)).body.code).to.equal("invite_invalid");
    expectStatus(201, await register({ invite: code }, open));
    expect((await register({ invite: code })).body.code).to.equal("invite_invalid");
  });

  it("keeps no code, and makes codes for 1 to 365 days", async () => {
    const { pool } = app.deps.database;
    const { id, code, expiresAt } = await createInvite(pool, { days: 2 });
    const { rows } = await pool.query<{ line: string }>(
      "select i::text as line from invites i where id = $1",
      [id],
    );
    expect(rows[0]?.line).to.not.include(code);
    expect((expiresAt.getTime() - Date.now()) / 86_400_000).to.be.closeTo(2, 0.01);
    for (const days of [0, 366, 1.5, NaN]) {
      expect(await rejection(createInvite(pool, { days }))).to.be.instanceOf(RangeError);
    }
  });
});
