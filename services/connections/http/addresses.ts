/** Which addresses a request to a provider may go to: those of the public internet, and no other. */
import { lookup as resolve, type LookupAddress, type LookupOptions } from "node:dns";
import { BlockList, isIP, isIPv6, type LookupFunction } from "node:net";

type Range = readonly [address: string, bits: number];

/** This network, private, shared, loopback, link-local, special, for documentation, for tests, multicast, reserved. */
const NOT_PUBLIC_V4: readonly Range[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
];
/** Global unicast. Addresses that stand for one of IPv4 (mapped, translated) are outside of it. */
const PUBLIC_V6: Range = ["2000::", 3];
/** Protocol assignments (Teredo too), documentation, 6to4: the last and the first carry an IPv4 address. */
const NOT_PUBLIC_V6: readonly Range[] = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
];

const refused = new BlockList();
for (const [address, bits] of NOT_PUBLIC_V4) refused.addSubnet(address, bits, "ipv4");
for (const [address, bits] of NOT_PUBLIC_V6) refused.addSubnet(address, bits, "ipv6");
const global = new BlockList();
global.addSubnet(...PUBLIC_V6, "ipv6");

/** @param address a literal of IPv4 or IPv6 without brackets; anything else is not public */
export function isPublicAddress(address: string): boolean {
  if (isIPv6(address)) return global.check(address, "ipv6") && !refused.check(address, "ipv6");
  return isIP(address) === 4 && !refused.check(address, "ipv4");
}

export class RefusedAddressError extends Error {
  constructor() {
    super("The name stands for an address that is not public");
    this.name = "RefusedAddressError";
  }
}

/**
 * The look-up of a connection: what is checked is what is connected to, so a name that changes its mind gains nothing.
 * A name is refused for one address that is not public among several.
 */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  const all: LookupOptions & { all: true } = { ...options, all: true };
  resolve(hostname, all, (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => {
    if (error !== null) return callback(error, "");
    const first = addresses[0];
    if (first === undefined || !addresses.every(({ address }) => isPublicAddress(address))) {
      return callback(new RefusedAddressError(), "");
    }
    if (options.all === true) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};
