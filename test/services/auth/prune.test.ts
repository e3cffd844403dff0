import { expect } from "chai";
import { KEEP_ENDED_DAYS, pruneEnded } from "../../../services/auth/prune.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { insertUser } from "../../support/users.js";

describe("credentials that have ended", () => {
  let test: TestDatabase;
  before(async () => {
    test = await createTestDatabase();
  });
  after(() => test.drop());

  const agesOf = async (table: string): Promise<string[]> => {
    const name = table === "sessions" ? "user_agent" : table === "api_tokens" ? "name" : "id::text";
    const { rows } = await test.database.pool.query<{ name: string }>(
      `select ${name} as name from ${table} order by 1`,
    );
    return rows.map((row) => row.name);
  };

  it("are deleted a week later, in as many statements as it takes, and nothing else is", async () => {
    const { pool } = test.database;
    const user = await insertUser(pool);
    await pool.query(
      `insert into sessions (id, user_id, refresh_key, user_agent, expires_at, revoked_at)
       select gen_random_uuid(), $1::uuid, '\\x00'::bytea, name, now() + expires, now() + revoked
       from (values
         ('works', interval '1 day', null::interval),
         ('expired lately', -interval '6 days', null),
         ('ended lately', interval '60 days', -interval '6 days'),
         ('expired', -interval '8 days', null),
         ('ended', interval '60 days', -interval '8 days')) as s (name, expires, revoked)
       union all
       select gen_random_uuid(), $1::uuid, '\\x00'::bytea, 'many', now() - interval '30 days', null
       from generate_series(1, 2500)`,
      [user],
    );
    await pool.query(
      `insert into api_tokens (id, user_id, name, token_hash, scopes, expires_at, revoked_at)
       select gen_random_uuid(), $1::uuid, name, sha256(name::bytea), '{read}', now() + expires, now() + revoked
       from (values
         ('for ever', null::interval, null::interval),
         ('works', interval '1 day', null),
         ('expired lately', -interval '6 days', null),
         ('revoked lately', null, -interval '6 days'),
         ('expired', -interval '8 days', null),
         ('revoked', null, -interval '8 days')) as t (name, expires, revoked)`,
      [user],
    );
    await pool.query(
      `insert into invites (id, code_hash, expires_at, used_at)
       select md5(name)::uuid, sha256(name::bytea), now() + expires, now() + used
       from (values
         ('open', interval '1 day', null::interval),
         ('used lately', interval '1 day', -interval '6 days'),
         ('used', interval '1 day', -interval '8 days'),
         ('expired', -interval '8 days', null)) as i (name, expires, used)`,
    );
    expect(KEEP_ENDED_DAYS).to.equal(7);

    expect(await pruneEnded(pool)).to.deep.equal({ sessions: 2502, api_tokens: 2, invites: 2 });
    expect(await agesOf("sessions")).to.have.members(["works", "expired lately", "ended lately"]);
    expect(await agesOf("api_tokens")).to.have.members([
      "for ever",
      "works",
      "expired lately",
      "revoked lately",
    ]);
    expect(await agesOf("invites")).to.have.length(2);
    // Nobody's copies have to be made again for what worked no more.
    const { rows } = await pool.query("select from cache_versions where owner = $1", [user]);
    expect(rows).to.have.length(0);

    const both = await Promise.all([pruneEnded(pool), pruneEnded(pool)]);
    expect(both).to.deep.equal(Array(2).fill({ sessions: 0, api_tokens: 0, invites: 0 }));
  });
});
