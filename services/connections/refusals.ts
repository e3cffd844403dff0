/** What the errors of providers mean for whoever connects an account. */
import { UnavailableError, ValidationError } from "../../utils/errors.js";
import { ProviderError, RateLimitedError, ReauthNeededError, UnknownAccountError } from "./errors.js";
import { GrantRefusedError } from "./oauth/tokens.js";

const RETRY_AFTER_SECONDS = 60;

/** What a request calls the things that a provider may not take. */
export interface ConnectFields {
  readonly token: string;
  readonly account: string;
}

/** The AppError that stands for it; any other error comes back as it was. */
export function toConnectError(error: unknown, field: ConnectFields): unknown {
  if (error instanceof ReauthNeededError || error instanceof GrantRefusedError) {
    return refused(
      field.token,
      "token_refused",
      "The provider does not take it: it is wrong, used or has run out",
    );
  }
  if (error instanceof UnknownAccountError) {
    return refused(field.account, "unknown_account", "The provider shows no account of this name");
  }
  if (error instanceof RateLimitedError) {
    const seconds = Math.max(1, Math.ceil((error.until - Date.now()) / 1000));
    return new UnavailableError("provider_busy", "The provider asks to wait", seconds, { cause: error });
  }
  return error instanceof ProviderError ? notAnswering(error) : error;
}

export const notAnswering = (cause: unknown): UnavailableError =>
  new UnavailableError("provider_error", "The provider does not answer as it should", RETRY_AFTER_SECONDS, {
    cause,
  });

const refused = (path: string, code: string, message: string): ValidationError =>
  new ValidationError(message, [{ path, code, message }], code);
