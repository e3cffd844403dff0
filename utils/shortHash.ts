import { createHash } from "node:crypto";

/** The first 132 bits of the SHA-256, as 22 characters that need no escaping in addresses, headers and keys. */
export const shortHash = (content: string | Buffer): string =>
  createHash("sha256").update(content).digest("base64url").slice(0, 22);
