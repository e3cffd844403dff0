/** The secret behind access and refresh tokens: from the settings, or made once and kept in the home folder. */
import { type KeyObject, createSecretKey, randomBytes } from "node:crypto";
import path from "node:path";
import { keptText } from "../../utils/keptFile.js";

const MIN_BYTES = 32;
const FILE = "jwt-secret";

export interface SigningKeys {
  /** Signs new tokens. */
  readonly current: KeyObject;
  /** Accepted, `current` first; an older one is kept as long as what was made with it should work. */
  readonly accepted: readonly [KeyObject, ...KeyObject[]];
}

/** The first secret signs, all verify. Throws when one is shorter than 32 bytes. */
export function signingKeys(secrets: readonly [string, ...string[]]): SigningKeys {
  // A KeyObject, not a string: jsonwebtoken tries a string as a public key first, which costs half a millisecond.
  const toKey = (secret: string): KeyObject => {
    const bytes = Buffer.from(secret, "utf8");
    if (bytes.length < MIN_BYTES) throw new Error(`A signing secret needs at least ${MIN_BYTES} bytes`);
    return createSecretKey(bytes);
  };
  const [first, ...older] = secrets;
  const current = toKey(first);
  return { current, accepted: [current, ...older.map(toKey)] };
}

/**
 * `previous` are secrets that sign nothing any more and are still accepted. Several processes may call this at once
 * for one folder: all get the same key.
 */
export async function loadSigningKeys(
  home: string,
  secret: string | undefined,
  previous: readonly string[] = [],
): Promise<SigningKeys> {
  return signingKeys([secret ?? (await keptSecret(home)), ...previous]);
}

async function keptSecret(home: string): Promise<string> {
  const secret = await keptText(home, FILE, () => randomBytes(48).toString("base64url"));
  if (Buffer.byteLength(secret) < MIN_BYTES) {
    throw new Error(
      `${path.join(home, FILE)} is damaged: it needs at least ${MIN_BYTES} bytes. Without it a new one is made`,
    );
  }
  return secret;
}
