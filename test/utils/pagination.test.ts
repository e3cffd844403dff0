import { expect } from "chai";
import { ValidationError } from "../../utils/errors.js";
import { decodeCursor, encodeCursor } from "../../utils/pagination.js";

const readPair = ([time, id]: readonly unknown[]): [string, number] | null =>
  typeof time === "string" && typeof id === "number" ? [time, id] : null;

const decode = (text: string): [string, number] => decodeCursor("plays", text, readPair);

describe("utils/pagination", () => {
  const cursor = encodeCursor("plays", ["2024-02-29T12:00:00.000001Z", 42]);

  it("gives back the position it was given, in letters that need no escaping in a URL", () => {
    expect(cursor).to.match(/^[\w-]+$/);
    expect(decode(cursor)).to.deep.equal(["2024-02-29T12:00:00.000001Z", 42]);
  });

  it("refuses what it did not make", () => {
    const refused = [
      "x",
      "",
      cursor.slice(0, -1),
      cursor.slice(4),
      `${cursor}=`,
      `${cursor}A`,
      Buffer.from(JSON.stringify(["plays", "2024-02-29T12:00:00.000001Z", 42])).toString("base64url"),
      encodeCursor("others", ["2024-02-29T12:00:00.000001Z", 42]),
      encodeCursor("plays", [42]),
      "A".repeat(10_000),
    ];
    for (const text of refused) {
      expect(() => decode(text), text)
        .to.throw(ValidationError)
        .that.includes({ code: "bad_cursor", status: 400 });
    }
  });

  it("notices each flipped bit", () => {
    for (const [index, letter] of [...cursor].entries()) {
      const other = letter === "A" ? "B" : "A";
      const flipped = cursor.slice(0, index) + other + cursor.slice(index + 1);
      expect(() => decode(flipped), `letter ${index}`).to.throw(ValidationError);
    }
  });
});
