/** A program: node:http that sends the ready bytes of the file `BODY`, and does nothing else. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const body = readFileSync(process.env["BODY"] ?? "");
const headers = {
  "content-type": "application/json; charset=utf-8",
  ...(body[0] === 0x1f ? { "content-encoding": "gzip" } : {}),
  "content-length": body.length,
};

createServer((_request, response) => {
  response.writeHead(200, headers);
  response.end(body);
}).listen(Number(process.env["PORT"]), "127.0.0.1", () => process.send?.("ready"));

process.on("disconnect", () => process.exit());
