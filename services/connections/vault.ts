/**
 * Encrypts what opens users' accounts at providers: AES-256-GCM, a random nonce for each, and the place where it is kept as
 * authenticated data, so that one that is copied into another row, or column, does not open there.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import type { TokenKey } from "../../utils/providerSettings.js";

const ALGORITHM = "aes-256-gcm";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Where a secret is kept: the id of its row, and the column. */
export interface SecretPlace {
  readonly row: string;
  readonly column: "access_token" | "refresh_token" | "verifier";
}

export interface Sealed {
  readonly keyId: string;
  /** Nonce, tag, ciphertext. */
  readonly bytes: Buffer;
}

/** A key is missing, or what was read is not what was written. The message names the key, never a secret. */
export class VaultError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "VaultError";
  }
}

const placeOf = ({ row, column }: SecretPlace): Buffer => Buffer.from(`${row}:${column}`);

export class TokenVault {
  readonly #keys: ReadonlyMap<string, Buffer>;
  readonly #current: TokenKey;

  /** The first key seals, all open. */
  constructor(keys: readonly [TokenKey, ...TokenKey[]]) {
    [this.#current] = keys;
    this.#keys = new Map(keys.map(({ id, key }) => [id, key]));
  }

  /** Of the key that seals. */
  get keyId(): string {
    return this.#current.id;
  }

  seal(secret: string, place: SecretPlace): Sealed {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, this.#current.key, nonce, { authTagLength: TAG_BYTES });
    cipher.setAAD(placeOf(place));
    const ciphertext = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
    return { keyId: this.#current.id, bytes: Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]) };
  }

  /** Throws VaultError. */
  open({ keyId, bytes }: Sealed, place: SecretPlace): string {
    const key = this.#keys.get(keyId);
    if (key === undefined)
      throw new VaultError(`A token is encrypted under the key ${keyId}, which is not here`);
    const nonce = bytes.subarray(0, NONCE_BYTES);
    const tag = bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
    try {
      const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(placeOf(place));
      decipher.setAuthTag(tag);
      const text = [decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()];
      return Buffer.concat(text).toString("utf8");
    } catch (cause) {
      throw new VaultError(
        `A token does not open with the key ${keyId}: another key had this id, or the row was changed`,
        { cause },
      );
    }
  }
}
