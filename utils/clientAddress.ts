/** Which address a request came from, and which addresses count as one client. */
import { BlockList, isIP } from "node:net";

/** Entries of X-Forwarded-For that are looked at, from the right. Nobody has more proxies. */
const MAX_HOPS = 16;

/** An address in one spelling: IPv4 inside IPv6 as IPv4, no zone. Null for what is no address. */
function plainAddress(text: string): string | null {
  const address = text.replace(/%.*$/s, "");
  const family = isIP(address);
  if (family === 0) return null;
  if (family === 4) return address;
  const groups = groupsOf(address);
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (mapped) return dotted(groups[6] ?? 0, groups[7] ?? 0);
  return groups.map((group) => group.toString(16)).join(":");
}

/** The eight groups of a valid IPv6 address. */
function groupsOf(address: string): number[] {
  const hex = address.replace(
    /(\d+)\.(\d+)\.(\d+)\.(\d+)$/,
    (_all, a: string, b: string, c: string, d: string) =>
      [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)].map((group) => group.toString(16)).join(":"),
  );
  const [head = "", tail] = hex.split("::");
  const parse = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => parseInt(group, 16));
  if (tail === undefined) return parse(head);
  const [left, right] = [parse(head), parse(tail)];
  return [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
}

const dotted = (high: number, low: number): string => [high >> 8, high & 255, low >> 8, low & 255].join(".");

/** Proxies whose X-Forwarded-For is believed: addresses and CIDR ranges, as the setting TRUSTED_PROXIES lists them. */
export class TrustedProxies {
  readonly #list = new BlockList();

  constructor(ranges: readonly string[]) {
    for (const range of ranges) {
      const [address = "", prefix] = range.split("/");
      const family = isIP(address) === 6 ? "ipv6" : "ipv4";
      if (prefix === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(prefix), family);
    }
  }

  /** Whether what this peer says about where a request came from is believed. */
  trusts(peer: string | undefined): boolean {
    const address = plainAddress(peer ?? "");
    return address !== null && this.#list.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
  }

  /**
   * The address a request came from: the peer's own, unless that is a trusted proxy. Then the right-most entry of
   * X-Forwarded-For that is none; what stands left of it, its sender chose. An entry that is no address ends the search.
   */
  clientOf(peer: string | undefined, forwardedFor: string | undefined): string {
    let client = plainAddress(peer ?? "") ?? "unknown";
    const hops = (forwardedFor ?? "").split(",").slice(-MAX_HOPS);
    while (this.trusts(client)) {
      const hop = hops.pop()?.trim();
      const address = hop === undefined ? null : plainAddress(hop);
      if (address === null) break;
      client = address;
    }
    return client;
  }
}

/** The first 64 bits of an IPv6 address: whoever has one address has all that begin so. Other addresses as they are. */
export function networkOf(client: string): string {
  if (isIP(client) !== 6) return client;
  return `${groupsOf(client)
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":")}::/64`;
}
