/**
 * Authorizations on their way: the `state` that goes to the provider and back with the user's browser. It is known by its
 * hash only, belongs to one session and one provider, and works once, for ten minutes.
 */
import { createHash, randomBytes } from "node:crypto";
import type pg from "pg";
import type { OAuthProvider } from "../../../db/models/enums.js";
import { UnauthorizedError } from "../../../utils/errors.js";
import type { TokenVault } from "../vault.js";
import type { OAuthClient } from "./clients.js";

const STATE_MINUTES = 10;
/** Of one user at the same time; the oldest gives way. */
const MAX_OPEN = 10;
const RANDOM_BYTES = 32;
const STATE = /^[\w-]{43}$/;

const random = (): string => randomBytes(RANDOM_BYTES).toString("base64url");
const hashOf = (text: string): Buffer => createHash("sha256").update(text).digest();
const placeOf = (stateHash: Buffer) => ({ row: stateHash.toString("hex"), column: "verifier" }) as const;

interface Beginning {
  readonly userId: string;
  readonly sessionId: string;
  readonly redirectUri: string;
}

/** Gives where to send the user. Throws UnauthorizedError when the session has ended meanwhile. */
export async function beginAuthorization(
  { pool, vault }: { readonly pool: pg.Pool; readonly vault: TokenVault },
  client: OAuthClient,
  { userId, sessionId, redirectUri }: Beginning,
): Promise<string> {
  const state = random();
  const verifier = random();
  const stateHash = hashOf(state);
  const sealed = vault.seal(verifier, placeOf(stateHash));
  const { rowCount } = await pool.query(
    `with gone as (
       delete from oauth_states
        where user_id = $2 and state_hash = any (array(
          select state_hash from oauth_states where user_id = $2 order by created_at desc offset $7))
     )
     insert into oauth_states (state_hash, user_id, session_id, provider, verifier, verifier_key_id)
     select $1, s.user_id, s.id, $4, $5, $6 from sessions s join users u on u.id = s.user_id
      where s.id = $3 and s.user_id = $2 and s.revoked_at is null and u.disabled_at is null`,
    [stateHash, userId, sessionId, client.provider, sealed.bytes, sealed.keyId, MAX_OPEN - 1],
  );
  if (rowCount !== 1) throw new UnauthorizedError();

  const url = new URL(client.authorizeUrl);
  url.search = new URLSearchParams({
    response_type: "code",
    client_id: client.clientId,
    redirect_uri: redirectUri,
    scope: client.scope,
    state,
    code_challenge: hashOf(verifier).toString("base64url"),
    code_challenge_method: "S256",
    ...client.parameters,
  }).toString();
  return url.href;
}

export interface Redeemed {
  readonly userId: string;
  readonly username: string;
  readonly verifier: string;
}

/** Null for a state that was never given, is used, too old, another provider's, or of a session that has ended. */
export async function redeemState(
  { pool, vault }: { readonly pool: pg.Pool; readonly vault: TokenVault },
  provider: OAuthProvider,
  state: string,
): Promise<Redeemed | null> {
  if (!STATE.test(state)) return null;
  const stateHash = hashOf(state);
  // Whoever deletes the row has it: of many at once, one.
  const { rows } = await pool.query<{
    user_id: string;
    username: string;
    verifier: Buffer;
    verifier_key_id: string;
  }>(
    `delete from oauth_states o using sessions s, users u
      where o.state_hash = $1 and o.provider = $2 and o.created_at > now() - make_interval(mins => $3)
        and s.id = o.session_id and s.revoked_at is null and s.expires_at > now()
        and u.id = o.user_id and u.disabled_at is null
     returning o.user_id, u.username, o.verifier, o.verifier_key_id`,
    [stateHash, provider, STATE_MINUTES],
  );
  const found = rows[0];
  if (found === undefined) return null;
  const sealed = { keyId: found.verifier_key_id, bytes: found.verifier };
  return {
    userId: found.user_id,
    username: found.username,
    verifier: vault.open(sealed, placeOf(stateHash)),
  };
}

/** Deletes what can no longer come back; gives how many. */
export async function pruneStates(pool: pg.Pool): Promise<number> {
  const { rowCount } = await pool.query(
    "delete from oauth_states where created_at < now() - make_interval(mins => $1)",
    [STATE_MINUTES],
  );
  return rowCount ?? 0;
}
