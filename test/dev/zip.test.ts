import { expect } from "chai";
import yauzl from "yauzl";
import { zip } from "../support/zip.js";

describe("the ZIP writer of the samples", () => {
  it("writes archives that a strict reader gives back byte for byte", async () => {
    const files = [
      {
        name: "Spotify Extended/Streaming_History_Audio_2020_1.json",
        data: JSON.stringify({ a: "é".repeat(5000) }),
      },
      { name: "ünïcode/空.txt", data: Buffer.from([0, 1, 2, 255]), store: true },
      { name: "empty.json", data: "" },
    ];
    const archive = await yauzl.fromBufferPromise(zip(files), { strictFileNames: true });
    const read: { name: string; data: string }[] = [];
    for await (const entry of archive.eachEntry()) {
      const chunks: Buffer[] = [];
      for await (const chunk of await archive.openReadStreamPromise(entry)) chunks.push(chunk as Buffer);
      read.push({ name: entry.fileName, data: Buffer.concat(chunks).toString("hex") });
    }
    expect(read).to.deep.equal(
      files.map(({ name, data }) => ({ name, data: Buffer.from(data).toString("hex") })),
    );
  });
});
