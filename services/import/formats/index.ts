/** Every format that can be imported. The first that recognises a record wins, so narrow ones come first. */
import type { ImportFormat } from "../types.js";
import { spotifyAccount } from "./spotifyAccount.js";
import { spotifyExtended } from "./spotifyExtended.js";

export const FORMATS: readonly ImportFormat[] = [spotifyExtended, spotifyAccount];

export function formatByName(name: string): ImportFormat | undefined {
  return FORMATS.find((format) => format.name === name);
}
