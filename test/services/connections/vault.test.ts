import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import { loadTokenKeys } from "../../../services/connections/tokenKeys.js";
import { TokenVault, VaultError, type SecretPlace } from "../../../services/connections/vault.js";

const key = (id: string, byte: number) => ({ id, key: Buffer.alloc(32, byte) });
const HERE: SecretPlace = { row: "018f0000-0000-7000-8000-000000000001", column: "access_token" };

describe("TokenVault", () => {
  it("gives back what was sealed, in every script, and seals the same differently each time", () => {
    const vault = new TokenVault([key("a", 1)]);
    for (const secret of ["", "BQDp-x_9", "ключ 鍵 🔑", "x".repeat(10_000)]) {
      const sealed = vault.seal(secret, HERE);
      expect(sealed.keyId).to.equal("a");
      expect(vault.open(sealed, HERE)).to.equal(secret);
      expect(sealed.bytes.equals(vault.seal(secret, HERE).bytes)).to.equal(false);
      if (secret.length > 3) expect(sealed.bytes.includes(secret)).to.equal(false);
    }
  });

  it("opens with any key it has and seals with the first", () => {
    const old = new TokenVault([key("old", 1)]).seal("secret", HERE);
    const both = new TokenVault([key("new", 2), key("old", 1)]);
    expect(both.open(old, HERE)).to.equal("secret");
    expect(both.seal("secret", HERE).keyId).to.equal(both.keyId).and.to.equal("new");
  });

  it("does not open what was moved, changed, cut or sealed with another key, and says why without the secret", () => {
    const vault = new TokenVault([key("a", 1)]);
    const sealed = vault.seal("a secret of mine", HERE);
    const flipped = Buffer.from(sealed.bytes);
    flipped[20]! ^= 1;
    const wrong: readonly (readonly [() => string, RegExp])[] = [
      [() => vault.open(sealed, { ...HERE, row: "018f0000-0000-7000-8000-000000000002" }), /does not open/],
      [() => vault.open(sealed, { ...HERE, column: "refresh_token" }), /does not open/],
      [() => vault.open({ ...sealed, bytes: flipped }, HERE), /does not open/],
      [() => vault.open({ ...sealed, bytes: sealed.bytes.subarray(0, 20) }, HERE), /does not open/],
      [() => vault.open({ ...sealed, bytes: Buffer.alloc(0) }, HERE), /does not open/],
      [() => new TokenVault([key("a", 9)]).open(sealed, HERE), /another key had this id/],
      [() => new TokenVault([key("b", 1)]).open(sealed, HERE), /under the key a, which is not here/],
    ];
    for (const [open, message] of wrong)
      expect(open).to.throw(VaultError, message).with.property("message").that.does.not.include("mine");
  });
});

describe("loadTokenKeys", () => {
  let home: string;
  beforeEach(async () => (home = await mkdtemp(path.join(tmpdir(), "playlog-keys-"))));
  afterEach(() => rm(home, { recursive: true, force: true }));
  const file = () => path.join(home, "token-key");

  it("makes one key for all processes of a folder, which only its owner reads", async () => {
    const loaded = await Promise.all([1, 2, 3, 4].map(() => loadTokenKeys(home, [])));
    for (const keys of loaded) expect(keys).to.deep.equal(loaded[0]);
    expect(loaded[0]).to.have.length(1);
    expect((await stat(file())).mode & 0o777).to.equal(0o600);
    expect(await loadTokenKeys(home, [])).to.deep.equal(loaded[0]);
  });

  it("takes the keys of the settings, and still opens with the one that was kept before", async () => {
    const configured = [key("mine", 3), key("older", 4)];
    expect(await loadTokenKeys(home, configured)).to.deep.equal(configured);
    const [kept] = await loadTokenKeys(home, []);
    expect(await loadTokenKeys(home, configured)).to.deep.equal([...configured, kept]);
    await rm(file());
    expect(await loadTokenKeys(home, configured)).to.deep.equal(configured);
  });

  it("refuses a damaged file rather than lose what it has closed", async () => {
    await loadTokenKeys(home, []);
    const whole = await readFile(file(), "utf8");
    for (const damaged of ["", whole.slice(0, 20), `${whole.trim()},${whole.trim()}`]) {
      await chmod(file(), 0o600);
      await writeFile(file(), damaged);
      const error = await loadTokenKeys(home, []).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(Error).with.property("message").that.includes("is damaged");
    }
  });
});
