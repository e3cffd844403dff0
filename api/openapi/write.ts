/** Writes the document that is kept with the code: `node --import tsx api/openapi/write.ts`. */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { endpoints } from "../routes/index.js";
import { openApiDocument } from "./document.js";

const file = path.join(import.meta.dirname, "openapi.json");
await writeFile(file, `${JSON.stringify(openApiDocument({ endpoints }), null, 2)}\n`);
console.log(`${endpoints.length} endpoints written to ${path.relative(process.cwd(), file)}`);
