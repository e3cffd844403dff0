import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import { loadSigningKeys, signingKeys } from "../../../services/auth/signingKeys.js";

describe("the key that signs access tokens", () => {
  let home: string;
  beforeEach(async () => {
    home = path.join(await mkdtemp(path.join(tmpdir(), "playlog-keys-")), "home");
  });
  afterEach(() => rm(path.dirname(home), { recursive: true, force: true }));

  it("is made once, kept for the owner's eyes only, and found again", async () => {
    const first = await loadSigningKeys(home, undefined);
    const second = await loadSigningKeys(home, undefined);
    expect(second.current.equals(first.current)).to.equal(true);
    expect(first.current.symmetricKeySize).to.be.at.least(32);
    expect(await readdir(home)).to.deep.equal(["jwt-secret"]);
    expect((await stat(path.join(home, "jwt-secret"))).mode & 0o777).to.equal(0o600);
  });

  it("is one key, however many processes make it at the same time", async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => loadSigningKeys(home, undefined)));
    expect(all.every(({ current }) => current.equals(all[0]!.current))).to.equal(true);
    expect(await readdir(home)).to.deep.equal(["jwt-secret"]);
  });

  it("is the one from the settings when there is one, and then no file is made", async () => {
    const secret = "s".repeat(40);
    const keys = await loadSigningKeys(home, secret);
    expect(keys.current.equals(signingKeys([secret]).current)).to.equal(true);
    expect(await readdir(path.dirname(home))).to.deep.equal([]);
  });

  it("is refused when it is too short, from wherever it comes", async () => {
    const refusal = async (work: () => Promise<unknown>): Promise<string> =>
      work().then(
        () => "accepted",
        (error: Error) => error.message,
      );
    expect(await refusal(() => loadSigningKeys(home, "short"))).to.match(/at least 32 bytes/);
    await loadSigningKeys(home, undefined);
    await writeFile(path.join(home, "jwt-secret"), "short\n");
    expect(await refusal(() => loadSigningKeys(home, undefined))).to.match(
      /\/jwt-secret is damaged: it needs at least 32 bytes/,
    );
  });

  it("stands first among the accepted ones", () => {
    const [fresh, old] = ["a".repeat(32), "b".repeat(32)];
    const keys = signingKeys([fresh, old]);
    expect(keys.accepted).to.have.length(2);
    expect(keys.accepted[0].equals(keys.current)).to.equal(true);
    expect(keys.accepted[1]?.equals(signingKeys([old]).current)).to.equal(true);
  });
});
