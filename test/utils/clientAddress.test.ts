import { expect } from "chai";
import { networkOf, TrustedProxies } from "../../utils/clientAddress.js";

describe("the address of a client", () => {
  const proxies = new TrustedProxies(["127.0.0.0/8", "::1", "10.1.0.0/16", "2001:db8:ff::/48"]);

  const cases: readonly (readonly [
    what: string,
    peer: string | undefined,
    forwarded: string | undefined,
    client: string,
  ])[] = [
    ["is the peer's", "203.0.113.7", undefined, "203.0.113.7"],
    ["is the peer's, whatever a peer says that is no proxy", "203.0.113.7", "198.51.100.1", "203.0.113.7"],
    ["is what a proxy says", "127.0.0.1", "198.51.100.1", "198.51.100.1"],
    [
      "is the right-most that is no proxy",
      "127.0.0.1",
      "6.6.6.6, 198.51.100.1, 10.1.2.3, 127.0.0.9",
      "198.51.100.1",
    ],
    ["is the left-most proxy when there are only proxies", "127.0.0.1", "10.1.2.3,10.1.2.4", "10.1.2.3"],
    ["is the proxy's when it says nothing", "127.0.0.1", "", "127.0.0.1"],
    [
      "stops at what is no address, which somebody put there",
      "127.0.0.1",
      "198.51.100.1, evil, 10.1.2.3",
      "10.1.2.3",
    ],
    ["stops at an address with a port", "127.0.0.1", "198.51.100.1:8080", "127.0.0.1"],
    ["takes IPv4 inside IPv6 for IPv4", "::ffff:127.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"],
    ["takes it written in hexadecimal, too", "::1", "::FFFF:c633:6401", "198.51.100.1"],
    ["has one spelling in IPv6", "2001:db8:ff::5", "2001:DB8::00a:1", "2001:db8:0:0:0:0:a:1"],
    ["has no zone", "fe80::1%eth0", undefined, "fe80:0:0:0:0:0:0:1"],
    ["is unknown without a peer", undefined, "198.51.100.1", "unknown"],
  ];
  for (const [what, peer, forwarded, client] of cases) {
    it(what, () => expect(proxies.clientOf(peer, forwarded)).to.equal(client));
  }

  it("is found among few entries, however many there are", () => {
    const many = `198.51.100.1,${Array<string>(100_000).fill("10.1.2.3").join(",")}`;
    expect(proxies.clientOf("127.0.0.1", many)).to.equal("10.1.2.3");
  });

  it("counts with all others of its IPv6 network, and alone in IPv4", () => {
    const network = networkOf("2001:db8:1:2:3:4:5:6");
    expect(network).to.equal("2001:db8:1:2::/64");
    expect(networkOf("2001:db8:1:2:ffff:ffff:ffff:ffff")).to.equal(network);
    expect(networkOf("2001:db8:1:3:3:4:5:6")).to.not.equal(network);
    expect(networkOf("198.51.100.1")).to.equal("198.51.100.1");
    expect(networkOf("unknown")).to.equal("unknown");
  });
});
