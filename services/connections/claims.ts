/** What a client has to say of an account that is connected by a name or a token. */
import type { ConnectionProvider } from "../../db/models/enums.js";
import { type ErrorDetail, ValidationError } from "../../utils/errors.js";
import type { AccountClaim } from "./providers/types.js";

export const CLAIMED_PROVIDERS = [
  "listenbrainz",
  "lastfm",
  "apple",
] as const satisfies readonly ConnectionProvider[];

export interface Claim {
  readonly provider: (typeof CLAIMED_PROVIDERS)[number];
  readonly username?: string;
  readonly token?: string;
  readonly userToken?: string;
}

type Field = "username" | "token" | "userToken";

/** Of each provider: the fields it takes, and those of which it needs one. */
const FIELDS: Readonly<
  Record<Claim["provider"], { readonly takes: readonly Field[]; readonly needs: readonly Field[] }>
> = {
  listenbrainz: { takes: ["username", "token"], needs: ["username", "token"] },
  lastfm: { takes: ["username"], needs: ["username"] },
  apple: { takes: ["userToken"], needs: ["userToken"] },
};
const ALL: readonly Field[] = ["username", "token", "userToken"];

export interface CheckedClaim extends AccountClaim {
  readonly provider: Claim["provider"];
  /** What the client calls the token. */
  readonly tokenField: Field;
}

/** Throws `ValidationError` that names every field which is missing, or is another provider's. */
export function checkClaim(claim: Claim): CheckedClaim {
  const { provider } = claim;
  const { takes, needs } = FIELDS[provider];
  const foreign = ALL.filter((field) => claim[field] !== undefined && !takes.includes(field)).map((path) => {
    return { path, code: "not_allowed", message: `${provider} takes no ${path}` };
  });
  const missing = needs.some((field) => claim[field] !== undefined)
    ? []
    : [{ path: needs[0] ?? "", code: "required", message: `${provider} needs ${needs.join(" or ")}` }];
  const problems: readonly ErrorDetail[] = [...foreign, ...missing];
  if (problems.length > 0)
    throw new ValidationError(problems.map(({ message }) => message).join(". "), problems);
  return {
    provider,
    username: claim.username ?? null,
    token: claim.token ?? claim.userToken ?? null,
    tokenField: provider === "apple" ? "userToken" : "token",
  };
}
