import { once } from "node:events";
import { createServer } from "node:net";
import { expect } from "chai";
import { freePort } from "../../dev/system.mjs";
import { takeTurn } from "../../dev/turn.mjs";
import { sleep } from "./support.js";

describe("the turn of starting servers", () => {
  it("goes to one at a time, and to the next when it is passed on", async () => {
    const port = await freePort();
    const order: string[] = [];
    const passOn = await takeTurn(port);
    const second = takeTurn(port).then((pass) => {
      order.push("second has it");
      pass();
    });
    await sleep(300);
    order.push("first passes it on");
    passOn();
    await second;
    expect(order).to.deep.equal(["first passes it on", "second has it"]);
  });

  it("is not waited for when another program sits on its port", async () => {
    const other = createServer((socket) => socket.end("220 some other service\r\n")).listen(0, "127.0.0.1");
    await once(other, "listening");
    try {
      const begun = Date.now();
      const pass = await takeTurn((other.address() as { port: number }).port);
      pass();
      expect(Date.now() - begun).to.be.below(2000);
    } finally {
      other.close();
    }
  });

  it("is not waited for longer than the caller's patience", async () => {
    const port = await freePort();
    const passOn = await takeTurn(port);
    try {
      const pass = await takeTurn(port, 200);
      pass();
    } finally {
      passOn();
    }
  });
});
