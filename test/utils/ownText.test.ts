import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect } from "chai";
import { ownText } from "../../utils/ownText.js";

/** Keeps 600 cuts of texts of half a megabyte each, in a process that has room for a third of these. */
const KEEPING = `
  import { ownText } from "./utils/ownText.ts";
  const keep = process.argv[1] === "own" ? ownText : (text) => text;
  const kept = [];
  for (let n = 0; n < 600; n += 1) {
    const long = Buffer.alloc(2 ** 19, String(n % 10)).toString("latin1");
    kept.push(keep(long.slice(100, 130)));
  }
  console.log(kept.length);
`;

const run = promisify(execFile);
const keeping = (how: "own" | "view") =>
  run(process.execPath, [
    "--import",
    "tsx",
    "--max-old-space-size=100",
    "--input-type=module",
    "-e",
    KEEPING,
    how,
  ]);

describe("a text of its own", () => {
  it("is the same text, whatever is in it", () => {
    const texts = [
      "",
      "short",
      "a name that is long enough",
      "夜行バス ".repeat(9),
      `broken \ud83d ${"x".repeat(20)}`,
    ];
    for (const text of texts) expect(ownText(text)).to.equal(text);
  });

  it("holds nothing of what it was cut out of, which a mere cut does", async () => {
    expect((await keeping("own")).stdout).to.equal("600\n");
    const [view] = await Promise.allSettled([keeping("view")]);
    expect(view.status).to.equal("rejected");
  });
});
