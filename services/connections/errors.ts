/** What can go wrong between playlog and a provider. Messages go into the job and its log: no token, no URL with one. */

/** The provider, or playlog's own share of its limit, asks to wait. */
export class RateLimitedError extends Error {
  /** @param until Unix milliseconds; at most 24 h away */
  constructor(readonly until: number) {
    super(`The provider asks to wait until ${new Date(until).toISOString()}`);
    this.name = "RateLimitedError";
  }
}

/** The user has taken back what they had allowed, or it has run out: only they can connect again. */
export class ReauthNeededError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ReauthNeededError";
  }
}

/** The provider did not answer, or not as documented. */
export class ProviderError extends Error {
  constructor(
    message: string,
    readonly retryable: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = "ProviderError";
  }
}

/** The provider knows no account of this name, or shows nothing of it. */
export class UnknownAccountError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "UnknownAccountError";
  }
}
