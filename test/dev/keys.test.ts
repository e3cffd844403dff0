import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { commandOf } from "../../dev/commands/keys.js";
import { saveConnection } from "../../services/connections/accounts.js";
import { assertKeysComplete, MissingTokenKeyError } from "../../services/connections/tokenKeys.js";
import { TokenVault, VaultError } from "../../services/connections/vault.js";
import { parseTokenKeys, type TokenKey } from "../../utils/providerSettings.js";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { dumpOf } from "../support/dump.js";
import { rejection } from "../support/rejection.js";
import { insertUser } from "../support/users.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");
const key = (id: string, byte: number): TokenKey => ({ id, key: Buffer.alloc(32, byte) });
const [OLD, NEW, LOST] = [key("old", 1), key("new", 2), key("lost", 3)];
type Keys = readonly [TokenKey, ...TokenKey[]];

describe("npm run keys", function () {
  this.timeout(30_000);
  let db: TestDatabase;
  before(async () => {
    db = await createTestDatabase();
  });
  afterEach(() => db.database.pool.query("delete from connections"));
  after(() => db.drop());

  async function connect(under: TokenKey, name: string): Promise<string> {
    const { pool } = db.database;
    const { id } = await saveConnection(
      { pool, vault: new TokenVault([under]) },
      {
        ...{ userId: await insertUser(pool), provider: "spotify", account: name, proven: true },
        secrets: { access: `access-of-${name}`, refresh: `refresh-of-${name}`, expiresAt: null },
      },
    );
    return id;
  }
  async function tokensOf(id: string, keys: Keys): Promise<string[]> {
    const { rows } = await db.database.pool.query<{
      access_token: Buffer;
      refresh_token: Buffer;
      token_key_id: string;
    }>("select access_token, refresh_token, token_key_id from connections where id = $1", [id]);
    const row = rows[0]!;
    return (["access_token", "refresh_token"] as const).map((column) =>
      new TokenVault(keys).open({ keyId: row.token_key_id, bytes: row[column] }, { row: id, column }),
    );
  }
  const answer = (keys: Keys, ...args: readonly string[]): Promise<string> => {
    const command = commandOf(args);
    return command === undefined ? Promise.reject(new Error("usage")) : command(db.database.pool, keys);
  };

  it("puts all tokens under the first key, after which the old one is not needed", async () => {
    const ids = [];
    for (let n = 0; n < 5; n += 1) ids.push(await connect(OLD, `a${n}`));
    ids.push(await connect(NEW, "b"));
    const env = {
      ...process.env,
      DATABASE_URL: db.url,
      TOKEN_KEYS: [NEW, OLD].map((one) => `${one.id}:${one.key.toString("base64")}`).join(","),
    };
    const args = ["dev/bootstrap.mjs", "keys", "rotate"];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env });
    expect(stdout).to.match(/^Tokens of 5 connection\(s\) were put under new;/);
    for (const id of ids)
      expect((await tokensOf(id, [NEW])).join()).to.match(/^access-of-\w+,refresh-of-\w+$/);
    expect(await answer([NEW, OLD], "rotate")).to.match(/^Tokens of 0 /);
    expect(await answer([NEW, OLD], "list")).to.equal(
      "new: 6 connection(s), for new tokens\nold: 0 connection(s)",
    );
    await assertKeysComplete(db.database.pool, [NEW]);
  });

  it("leaves what does not open as it is, and says which key it needs", async () => {
    const [lost, fine] = [await connect(LOST, "c"), await connect(OLD, "d")];
    const failed = await rejection(answer([NEW, OLD], "rotate"));
    expect(String(failed)).to.include("1 connection(s) are under new now").and.to.include("1 under lost");
    expect(await tokensOf(fine, [NEW])).to.deep.equal(["access-of-d", "refresh-of-d"]);
    expect(await tokensOf(lost, [LOST])).to.deep.equal(["access-of-c", "refresh-of-c"]);
    expect(await rejection(tokensOf(lost, [NEW]))).to.be.instanceOf(VaultError);
    expect(await answer([NEW], "list")).to.include("lost: 1 connection(s), but the key is not here");

    const missing = await rejection(assertKeysComplete(db.database.pool, [NEW]));
    expect(missing).to.be.instanceOf(MissingTokenKeyError).with.property("message").that.includes("lost");
    expect(String(await rejection(answer([NEW], "drop", "new")))).to.include("is here");
    expect(await answer([NEW], "drop", "lost")).to.equal("1 connection(s) ask to be connected again");
    await assertKeysComplete(db.database.pool, [NEW]);
    const { rows } = await db.database.pool.query("select status from connections where id = $1", [lost]);
    expect(rows).to.deep.equal([{ status: "needs_reauth" }]);
  });

  it("rotates beside others that do", async () => {
    const ids: string[] = [];
    for (let n = 0; n < 4; n += 1) ids.push(await connect(OLD, `e${n}`));
    await Promise.all([answer([NEW, OLD], "rotate"), answer([NEW, OLD], "rotate")]);
    for (const id of ids) expect(await tokensOf(id, [NEW])).to.have.length(2);
  });

  it("leaves no token that a copy of the database would show", async () => {
    await connect(OLD, "f");
    await answer([NEW, OLD], "rotate");
    const dump = await dumpOf(db.database.pool);
    for (const token of ["access-of-f", "refresh-of-f"])
      for (const form of ["utf8", "hex", "base64"] as const)
        expect(dump).to.not.include(Buffer.from(token).toString(form));
  });

  it("makes keys that TOKEN_KEYS takes, and says how it is used rather than guess", async () => {
    const made = await answer([NEW], "new");
    expect(parseTokenKeys(`${made},old:${OLD.key.toString("base64")}`)).to.have.length(2);
    for (const args of [[], ["rotate", "now"], ["drop"], ["drop", "a", "b"], ["nonsense"]])
      expect(commandOf(args), args.join(" ")).to.equal(undefined);
  });
});
