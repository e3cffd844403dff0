/** Connections as rows: made, made again, looked at. */
import type pg from "pg";
import { brokenConstraint } from "../../db/errors.js";
import type { ConnectionProvider, ConnectionStatus, ImportStatus } from "../../db/models/enums.js";
import { inTransaction } from "../../db/transaction.js";
import { ConflictError, UnauthorizedError } from "../../utils/errors.js";
import { uuidv7 } from "../../utils/uuid.js";
import type { IdentifiedAccount } from "./providers/types.js";
import type { TokenVault } from "./vault.js";

/** Of one user. */
const MAX_CONNECTIONS = 50;

/**
 * How often a new connection is synced, in minutes. Spotify tells the last 50 plays only, which may be less than half an hour;
 * Apple the last few without times; Google makes an archive once a day.
 */
export const EVERY_MINUTES: Readonly<Record<ConnectionProvider, number>> = {
  spotify: 15,
  apple: 10,
  youtube: 1440,
  listenbrainz: 60,
  lastfm: 60,
};

export interface ConnectionRow {
  readonly id: string;
  readonly user_id: string;
  readonly provider: ConnectionProvider;
  readonly account: string;
  readonly status: ConnectionStatus;
  readonly every_minutes: number;
  readonly paused: boolean;
  readonly gaps: number;
  readonly last_import: string | null;
  readonly last_status: ImportStatus | null;
  readonly last_at: Date | null;
  readonly created_at: Date;
}

/** What opens the account; all null for a name that anybody can follow. */
export interface Secrets {
  readonly access: string | null;
  readonly refresh: string | null;
  readonly expiresAt: Date | null;
}

export interface NewConnection extends IdentifiedAccount {
  readonly userId: string;
  readonly provider: ConnectionProvider;
  readonly secrets: Secrets;
}

const SELECT = `
  select c.id, c.user_id, c.provider, c.account, c.status, c.every_minutes, c.paused, c.created_at,
         (select count(*)::int from sync_gaps g where g.connection_id = c.id) as gaps,
         j.id as last_import, j.status as last_status, coalesce(j.finished_at, j.started_at, j.created_at) as last_at
    from connections c
    left join lateral (
      select id, status, finished_at, started_at, created_at from import_jobs
       where connection_id = c.id order by created_at desc limit 1) j on true`;

/** The oldest first. */
export async function connectionsOf(pool: pg.Pool, userId: string): Promise<readonly ConnectionRow[]> {
  const { rows } = await pool.query<ConnectionRow>({
    name: "connections",
    text: `${SELECT} where c.user_id = $1 order by c.created_at, c.id`,
    values: [userId],
  });
  return rows;
}

/** Undefined for a stranger's, too. */
export async function findConnection(
  pool: pg.Pool,
  userId: string,
  id: string,
): Promise<ConnectionRow | undefined> {
  const { rows } = await pool.query<ConnectionRow>(`${SELECT} where c.id = $1 and c.user_id = $2`, [
    id,
    userId,
  ]);
  return rows[0];
}

/**
 * Makes the connection, or opens the one that the user has with this account again: it keeps its schedule and goes on where
 * its last sync ended. Throws `ConflictError` (`account_taken`: another user has shown that the account is theirs;
 * `too_many_connections`) and UnauthorizedError when the user is gone.
 */
export async function saveConnection(
  { pool, vault }: { readonly pool: pg.Pool; readonly vault: TokenVault },
  connection: NewConnection,
): Promise<{ readonly id: string; readonly created: boolean }> {
  try {
    return await inTransaction(pool, async (client) => {
      // In turns with others of this user, and not while the account is erased.
      const owner = await client.query(
        "select from users where id = $1 and disabled_at is null for no key update",
        [connection.userId],
      );
      if (owner.rows.length === 0) throw new UnauthorizedError();
      const { rows } = await client.query<KnownRow>(
        "select id, provider, account, status from connections where user_id = $1 order by created_at",
        [connection.userId],
      );
      const known = rows.find((row) => isSame(row, connection));
      if (known === undefined && rows.length >= MAX_CONNECTIONS) {
        throw new ConflictError(
          "too_many_connections",
          `An account has at most ${MAX_CONNECTIONS} connections`,
        );
      }
      const id = known?.id ?? uuidv7();
      await (known === undefined ? insert : update)(
        client,
        id,
        connection,
        sealed(vault, id, connection.secrets),
      );
      return { id, created: known === undefined };
    });
  } catch (error) {
    if (brokenConstraint(error) !== "connections_proven_once") throw error;
    throw new ConflictError("account_taken", "This account is connected by another user of this playlog");
  }
}

type KnownRow = Pick<ConnectionRow, "id" | "provider" | "account" | "status">;

/**
 * Apple names nobody, so an account there is called after its token: a new token is taken for the next one of the connection
 * that waits for one.
 */
const isSame = (
  { provider, account, status }: KnownRow,
  { provider: asked, account: named }: NewConnection,
): boolean =>
  provider === asked && (account === named || (provider === "apple" && status === "needs_reauth"));

type Values = readonly [
  access: Buffer | null,
  refresh: Buffer | null,
  keyId: string | null,
  expiresAt: Date | null,
];

function sealed(vault: TokenVault, row: string, { access, refresh, expiresAt }: Secrets): Values {
  const seal = (secret: string | null, column: "access_token" | "refresh_token"): Buffer | null =>
    secret === null ? null : vault.seal(secret, { row, column }).bytes;
  const values = [seal(access, "access_token"), seal(refresh, "refresh_token")] as const;
  return [...values, values.some((value) => value !== null) ? vault.keyId : null, expiresAt];
}

type Write = (client: pg.ClientBase, id: string, connection: NewConnection, secrets: Values) => Promise<void>;

const insert: Write = async (client, id, { userId, provider, account, proven }, secrets) => {
  await client.query(
    `insert into connections (id, user_id, provider, account, proven, every_minutes, access_token, refresh_token,
       token_key_id, token_expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [id, userId, provider, account, proven, EVERY_MINUTES[provider], ...secrets],
  );
};

const update: Write = async (client, id, { account, proven }, secrets) => {
  await client.query(
    `update connections
        set proven = proven or $2, access_token = $3, refresh_token = $4, token_key_id = $5, token_expires_at = $6,
            account = $7, status = 'active', refusals = 0, refused_since = null, version = version + 1, updated_at = now()
      where id = $1`,
    [id, proven, ...secrets, account],
  );
};
