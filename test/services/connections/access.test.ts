import { expect } from "chai";
import type pg from "pg";
import { openAccess, type AccessDependencies } from "../../../services/connections/access.js";
import { saveConnection } from "../../../services/connections/accounts.js";
import { ProviderError, ReauthNeededError } from "../../../services/connections/errors.js";
import { oauthClientsOf } from "../../../services/connections/oauth/clients.js";
import { providerFetchOf } from "../../../services/connections/providers/index.js";
import { REFUSALS_HOURS, REFUSALS_MAX } from "../../../services/connections/reauth.js";
import { TokenVault } from "../../../services/connections/vault.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { broken, json } from "../../support/providers/exchange.js";
import { startStandIn, type StandIn } from "../../support/providers/standIn.js";
import { rejection } from "../../support/rejection.js";
import { insertUser } from "../../support/users.js";

const HOUR_MS = 3_600_000;

describe("the access of a sync to an account", () => {
  let test: TestDatabase;
  let standIn: StandIn;
  let deps: AccessDependencies;
  before(async () => {
    test = await createTestDatabase();
    standIn = await startStandIn();
    const settings = standIn.settings();
    deps = {
      pool: test.database.pool,
      vault: new TokenVault([{ id: "k", key: Buffer.alloc(32, 7) }]),
      fetch: providerFetchOf(settings),
      oauth: oauthClientsOf(settings),
    };
  });
  afterEach(() => {
    standIn.reset();
    standIn.spotify.oauth.rotates = true;
  });
  after(async () => {
    await standIn.stop();
    await test.drop();
  });

  const pool = (): pg.Pool => test.database.pool;
  async function connect(
    expiresInMs: number,
  ): Promise<{ id: string; accessToken: string; refreshToken: string }> {
    const tokens = standIn.spotify.oauth.issue("ada");
    const { id } = await saveConnection(deps, {
      userId: await insertUser(pool()),
      provider: "spotify",
      account: `ada ${tokens.accessToken}`,
      proven: true,
      secrets: {
        access: tokens.accessToken,
        refresh: tokens.refreshToken,
        expiresAt: new Date(Date.now() + expiresInMs),
      },
    });
    return { id, ...tokens };
  }
  const rowOf = async (id: string) => {
    const { rows } = await pool().query<{
      status: string;
      access_token: Buffer | null;
      refresh_token: Buffer | null;
      token_key_id: string | null;
      refusals: number;
      paused: boolean;
    }>(
      "select status, access_token, refresh_token, token_key_id, refusals, paused from connections where id = $1",
      [id],
    );
    return rows[0]!;
  };
  const refreshTokenOf = async (id: string): Promise<string> => {
    const { refresh_token: bytes, token_key_id: keyId } = await rowOf(id);
    return deps.vault.open({ bytes: bytes!, keyId: keyId! }, { row: id, column: "refresh_token" });
  };
  const renewals = (): number => standIn.seen.filter(({ url }) => url.pathname === "/api/token").length;

  it("hands out the token that is there while it lasts", async () => {
    const { id, accessToken } = await connect(HOUR_MS);
    const access = await openAccess(deps, id);
    expect(access.connectionId).to.equal(id);
    expect(access.account).to.equal(`ada ${accessToken}`);
    expect(await access.token()).to.equal(accessToken);
    expect(renewals()).to.equal(0);
  });

  it("renews it once, however many find it at its end, and keeps the new refresh token", async () => {
    const { id, accessToken, refreshToken } = await connect(30_000);
    const tokens = await Promise.all(
      Array.from({ length: 8 }, async () => (await openAccess(deps, id)).token()),
    );
    expect(new Set(tokens).size).to.equal(1);
    expect(tokens[0]).to.not.equal(accessToken);
    expect(renewals()).to.equal(1);
    expect(standIn.spotify.oauth.access.has(tokens[0]!)).to.equal(true);
    expect(await refreshTokenOf(id)).to.not.equal(refreshToken);
    expect(standIn.spotify.oauth.refresh.has(await refreshTokenOf(id))).to.equal(true);
  });

  it("keeps the old refresh token when no new one comes", async () => {
    const { id, refreshToken } = await connect(0);
    standIn.spotify.oauth.rotates = false;
    expect(await (await openAccess(deps, id)).token()).to.match(/^access-/);
    expect(await refreshTokenOf(id)).to.equal(refreshToken);
  });

  it("renews a token that the provider refuses, whatever its age, but not one that was renewed meanwhile", async () => {
    const { id, accessToken } = await connect(HOUR_MS);
    const access = await openAccess(deps, id);
    const fresh = await access.token(accessToken);
    expect(fresh).to.not.equal(accessToken);
    expect(await access.token(accessToken)).to.equal(fresh);
    expect(renewals()).to.equal(1);
  });

  it("disconnects nobody for one refusal, nor for many within an hour, and forgets them with the next success", async () => {
    const { id } = await connect(0);
    standIn.always("/api/token", json(400, { error: "invalid_grant" }));
    for (let n = 1; n <= REFUSALS_MAX + 2; n += 1) {
      const error = await rejection((await openAccess(deps, id)).token());
      expect(error).to.be.instanceOf(ProviderError).with.property("retryable", false);
      expect(await rowOf(id)).to.include({ status: "active", refusals: n });
    }
    standIn.reset();
    expect(await (await openAccess(deps, id)).token()).to.match(/^access-/);
    expect(await rowOf(id)).to.include({ status: "active", refusals: 0 });
  });

  it("asks the user to connect again after refusals for a day, and deletes what opens nothing any more", async () => {
    const { id } = await connect(0);
    standIn.always("/api/token", json(400, { error: "invalid_grant" }));
    for (let n = 1; n < REFUSALS_MAX; n += 1) await rejection((await openAccess(deps, id)).token());
    await pool().query(
      "update connections set refused_since = now() - make_interval(hours => $2) where id = $1",
      [id, REFUSALS_HOURS],
    );
    const error = await rejection((await openAccess(deps, id)).token());
    expect(error).to.be.instanceOf(ReauthNeededError);
    const nothing = { access_token: null, refresh_token: null, token_key_id: null };
    expect(await rowOf(id)).to.deep.equal({ status: "needs_reauth", refusals: 0, paused: false, ...nothing });
    const asked = renewals();
    expect(await rejection(openAccess(deps, id))).to.be.instanceOf(ReauthNeededError);
    expect(renewals()).to.equal(asked);
  });

  it("tells trouble of the provider from a refusal, and shows no token in what it throws", async () => {
    const { id, refreshToken } = await connect(0);
    for (const answer of [broken(500), broken(503), json(400, { error: "invalid_client" }), json(200, {})]) {
      standIn.next("/api/token", answer);
      const error = await rejection((await openAccess(deps, id)).token());
      expect(error).to.be.instanceOf(ProviderError);
      expect(String((error as Error).stack)).to.not.include(refreshToken);
    }
    expect(await rowOf(id)).to.include({ status: "active", refusals: 0 });
  });

  it("has nothing to hand out for an account that is only named, and cannot renew a plain token", async () => {
    const userId = await insertUser(pool());
    const named = await saveConnection(deps, {
      ...{ userId, provider: "lastfm", account: "ada", proven: false },
      secrets: { access: null, refresh: null, expiresAt: null },
    });
    expect(await (await openAccess(deps, named.id)).token()).to.equal(null);
    const plain = await saveConnection(deps, {
      ...{ userId, provider: "listenbrainz", account: "ada", proven: true },
      secrets: { access: "a-token", refresh: null, expiresAt: null },
    });
    const access = await openAccess(deps, plain.id);
    expect(await access.token()).to.equal("a-token");
    expect(await rejection(access.token("a-token"))).to.be.instanceOf(ReauthNeededError);

    await pool().query("delete from connections where id = $1", [plain.id]);
    expect(await rejection(access.token())).to.be.instanceOf(ReauthNeededError);
  });
});
