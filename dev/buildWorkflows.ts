/** The second half of `npm run build`: node --import tsx dev/buildWorkflows.ts FILE */
import path from "node:path";
import { buildWorkflowBundle } from "./workflowBundle.js";

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error("usage: node --import tsx dev/buildWorkflows.ts FILE");
await buildWorkflowBundle(path.resolve(file));
