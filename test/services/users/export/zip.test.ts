import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { zipStream, type ZipEntry } from "../../../../services/users/export/zip.js";
import { rejection } from "../../../support/rejection.js";
import { until } from "../../../support/until.js";
import { unzip } from "../../../support/unzip.js";

const AT = new Date("2024-02-29T23:59:58Z");

async function bytesOf(entries: Iterable<ZipEntry>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of zipStream(entries, AT)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe("services/users/export/zip", () => {
  it("writes files that another program reads back, byte by byte and with their checksums", async () => {
    const long = Array.from({ length: 300 }, () => randomBytes(5000).toString("hex"));
    const files = await unzip(
      await bytesOf([
        { name: "a.txt", content: ["one", "", " two"] },
        { name: "empty.json", content: [] },
        { name: "folder/música.txt", content: ["日本語\n", "\u{1f3b5}"] },
        { name: "long.txt", content: long },
      ]),
    );
    expect([...files.keys()]).to.deep.equal(["a.txt", "empty.json", "folder/música.txt", "long.txt"]);
    expect(files.get("a.txt")?.text).to.equal("one two");
    expect(files.get("empty.json")?.text).to.equal("");
    expect(files.get("folder/música.txt")?.text).to.equal("日本語\n\u{1f3b5}");
    expect(files.get("long.txt")?.text).to.equal(long.join(""));
    for (const { modified } of files.values()) expect(modified).to.deep.equal(AT);
  });

  it("is an archive also without a file", async () => {
    expect((await unzip(await bytesOf([]))).size).to.equal(0);
  });

  it("fails as its content fails, and ends no archive", async () => {
    // eslint-disable-next-line @typescript-eslint/require-await -- content is read asynchronously
    async function* broken(): AsyncGenerator<string> {
      yield "half";
      throw new Error("the database went away");
    }
    const error = await rejection(bytesOf([{ name: "a.txt", content: broken() }]));
    expect(error).to.have.property("message", "the database went away");
  });

  it("asks for no more than somebody reads, and for nothing after that", async () => {
    let [asked, ended] = [0, false];
    // eslint-disable-next-line @typescript-eslint/require-await -- content is read asynchronously
    async function* endless(): AsyncGenerator<string> {
      try {
        for (;;) {
          asked += 1;
          yield randomBytes(32 * 1024).toString("hex");
        }
      } finally {
        ended = true;
      }
    }
    const archive = zipStream([{ name: "endless.txt", content: endless() }], AT);
    const chunks = archive[Symbol.asyncIterator]();
    for (let n = 0; n < 5; n += 1) await chunks.next();
    let before: number;
    do {
      before = asked;
      await sleep(50);
    } while (asked !== before);
    expect(asked).to.be.below(60);
    archive.destroy();
    await until("the content is let go", () => ended);
  });
});
