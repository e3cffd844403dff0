/** Credentials, sessions and personal API tokens as JSON. */
import type { ApiTokenView } from "../../../services/auth/ApiTokenStore.js";
import type { Credentials, LoggedIn } from "../../../services/auth/AuthService.js";
import type { SessionView } from "../../../services/auth/sessionRows.js";
import { presentUser } from "../users/presenter.js";

export const presentCredentials = ({ accessToken, refreshToken, expiresIn }: Credentials) => ({
  accessToken,
  refreshToken,
  tokenType: "Bearer",
  expiresIn,
});

export const presentLogin = (loggedIn: LoggedIn) => ({
  user: presentUser(loggedIn.user),
  ...presentCredentials(loggedIn),
});

export const presentSession = (session: SessionView, currentId: string) => ({
  id: session.id,
  current: session.id === currentId,
  userAgent: session.userAgent,
  createdAt: session.createdAt.toISOString(),
  lastUsedAt: session.lastUsedAt.toISOString(),
  expiresAt: session.expiresAt.toISOString(),
});

/** Never with the token itself, which nobody has any more. */
export const presentApiToken = (token: ApiTokenView) => ({
  id: token.id,
  name: token.name,
  scopes: token.scopes,
  lastUsedAt: token.lastUsedAt?.toISOString() ?? null,
  expiresAt: token.expiresAt?.toISOString() ?? null,
  createdAt: token.createdAt.toISOString(),
});
