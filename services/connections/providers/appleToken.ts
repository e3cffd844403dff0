/** The token by which Apple knows playlog's operator: given in the settings, or signed with the operator's key. */
import jwt from "jsonwebtoken";
import type { AppleSettings } from "../../../utils/providerSettings.js";

const LIFETIME_S = 24 * 60 * 60;
/** A token is replaced while it is still good for so long. */
const SPARE_S = 60 * 60;

/** @param now Unix milliseconds; for tests */
export function developerTokens(settings: AppleSettings, now: () => number = Date.now): () => string {
  if ("developerToken" in settings) return () => settings.developerToken;
  let token = "";
  let endsAt = 0;
  return () => {
    const second = Math.floor(now() / 1000);
    if (second + SPARE_S < endsAt) return token;
    endsAt = second + LIFETIME_S;
    token = jwt.sign({ iss: settings.teamId, iat: second, exp: endsAt }, settings.privateKey, {
      algorithm: "ES256",
      keyid: settings.keyId,
    });
    return token;
  };
}
