/** What the errors of providers mean for whoever connects an account. */
import { UnavailableError, ValidationError } from "../../utils/errors.js";
import { ProviderError, RateLimitedError, ReauthNeededError, UnknownAccountError } from "./errors.js";
import { GrantRefusedError } from "./oauth/tokens.js";

const RETRY_AFTER_SECONDS = 60;

/**
 * The AppError that stands for it; any other error comes back as it was.
 * @param field of the request, for what the provider does not take
 */
export function toConnectError(
  error: unknown,
  field: { readonly token: string; readonly account: string },
): unknown {
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
  if (error instanceof ProviderError) {
    const message = "The provider does not answer as it should";
    return new UnavailableError("provider_error", message, RETRY_AFTER_SECONDS, { cause: error });
  }
  return error;
}

const refused = (path: string, code: string, message: string): ValidationError =>
  new ValidationError(message, [{ path, code, message }], code);
