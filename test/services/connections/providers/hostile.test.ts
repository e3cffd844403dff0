import { expect } from "chai";
import type { ConnectionProvider } from "../../../../db/models/enums.js";
import type { Budget } from "../../../../services/connections/budget.js";
import {
  ProviderError,
  RateLimitedError,
  ReauthNeededError,
  UnknownAccountError,
} from "../../../../services/connections/errors.js";
import { identifiersOf, providersOf } from "../../../../services/connections/providers/index.js";
import type { Answer } from "../../../support/providers/exchange.js";
import { broken, half, html, json, many, redirect, tooMany } from "../../../support/providers/exchange.js";
import { type StandIn, startStandIn } from "../../../support/providers/standIn.js";
import { rejection } from "../../../support/rejection.js";
import { accessOf, clientsOf, localBudget, paged, providerOf, sync } from "./reading.js";

const PATHS = {
  spotify: "/v1/me/player",
  listenbrainz: "/1/user",
  lastfm: "/2.0/",
  apple: "/v1/me/recent",
} as const;
type Paged = keyof typeof PATHS;
const PROVIDERS = Object.keys(PATHS) as Paged[];

const LISTS: Readonly<Record<Paged, [open: string, item: string, close: string]>> = {
  spotify: ['{"items":[', "{}", "]}"],
  listenbrainz: ['{"payload":{"listens":[', "{}", "]}}"],
  lastfm: ['{"recenttracks":{"track":[', "{}", "]}}"],
  apple: ['{"data":[', "{}", "]}"],
};

describe("a provider that does not do what it documents", () => {
  let standIn: StandIn;

  before(async () => {
    standIn = await startStandIn();
  });
  beforeEach(() => standIn.reset());
  after(() => standIn.stop());

  async function failure(name: ConnectionProvider, path: string, answer: Answer, budget?: Budget) {
    standIn.always(path, answer);
    try {
      const error = await rejection(sync(providerOf(standIn, name, budget), accessOf("ada", "secret-token")));
      expect((error as Error).message)
        .to.not.include("secret-token")
        .and.not.include("api_key");
      return error;
    } finally {
      standIn.reset();
    }
  }

  for (const name of PROVIDERS) {
    const path = PATHS[name];

    it(`${name}: trouble that may pass is tried again, the rest is not, and nobody is disconnected`, async () => {
      for (const passing of [broken(500), broken(503), html(), half()]) {
        const error = await failure(name, path, passing);
        expect(error).to.be.instanceOf(ProviderError).that.has.property("retryable", true);
      }
      const lasting = [
        json(400, {}),
        json(404, {}),
        json(200, []),
        json(200, { items: 1, payload: 1, recenttracks: 1, data: 1 }),
        many(name === "spotify" ? 1_000_000 : 2000, ...LISTS[name]),
        redirect("http://169.254.169.254/"),
      ];
      for (const answer of lasting) {
        const error = await failure(name, path, answer);
        expect(error).to.be.instanceOf(ProviderError).that.has.property("retryable", false);
      }
    });

    it(`${name}: a 429 of a day keeps everybody of this client id back, and nobody else`, async () => {
      const budget = localBudget();
      const error = await failure(name, path, tooMany("80000"), budget);
      const { until } = error as RateLimitedError;
      expect(until - Date.now()).to.be.within(79_900_000, 80_000_000);
      const other = await rejection(
        sync(providerOf(standIn, name, budget), accessOf("bob", "another-token")),
      );
      expect(other).to.be.instanceOf(RateLimitedError).that.has.property("until", until);
      expect(standIn.seen).to.deep.equal([]);

      const changed = {
        SPOTIFY_CLIENT_ID: "another",
        LASTFM_API_KEY: "another",
        APPLE_DEVELOPER_TOKEN: "another",
        LISTENBRAINZ_URL: standIn.origin.replace("127.0.0.1", "localhost"),
      };
      const settings = standIn.settings(changed);
      const elsewhere = paged(settings, name, budget);
      const answered = await rejection(sync(elsewhere, accessOf("bob", "another-token")));
      expect(answered).to.not.be.instanceOf(RateLimitedError);
      expect(standIn.seen.length).to.be.greaterThan(0);
    });
  }

  it("is given up when it stays silent", async () => {
    const settings = standIn.settings({ PROVIDER_TIMEOUT_MS: "150" });
    standIn.always(PATHS.spotify, () => {});
    const spotify = paged(settings, "spotify");
    const error = await rejection(sync(spotify, accessOf("ada", "a-token")));
    expect(error).to.be.instanceOf(ProviderError).that.has.property("retryable", true);
  });
});

describe("whose account it is", () => {
  let standIn: StandIn;

  before(async () => {
    standIn = await startStandIn();
    standIn.listenbrainz.tokens.set("lb-token", "Ada");
    standIn.listenbrainz.listens.set("Ada", []);
    standIn.lastfm.scrobbles.set("AdaL", []);
    standIn.apple.played.set("user-token", []);
  });
  after(() => standIn.stop());

  const identify = (name: ConnectionProvider, token: string | null, username: string | null = null) => {
    const settings = standIn.settings();
    return identifiersOf(settings, clientsOf(settings)).get(name)!({ token, username });
  };

  it("is told by the provider for a token, and believed for a name that exists", async () => {
    const { accessToken } = standIn.spotify.oauth.issue("ada");
    expect(await identify("spotify", accessToken)).to.deep.equal({ account: "ada", proven: true });
    expect(await identify("listenbrainz", "lb-token")).to.deep.equal({ account: "Ada", proven: true });
    expect(await identify("listenbrainz", null, "Ada")).to.deep.equal({ account: "Ada", proven: false });
    expect(await identify("lastfm", null, "adal")).to.deep.equal({ account: "AdaL", proven: false });
    expect(await identify("youtube", "any")).to.deep.equal({ account: "youtube", proven: false });
    const apple = await identify("apple", "user-token");
    expect(apple.account).to.match(/^apple-[0-9a-f]{16}$/);
    expect(apple.proven).to.equal(true);
  });

  it("is nobody's for a token that is not taken or a name that nobody has", async () => {
    for (const name of ["spotify", "listenbrainz", "apple"] as const) {
      expect(await rejection(identify(name, "wrong")), name).to.be.instanceOf(ReauthNeededError);
    }
    for (const name of ["listenbrainz", "lastfm"] as const) {
      expect(await rejection(identify(name, null, "nobody")), name).to.be.instanceOf(UnknownAccountError);
    }
  });

  it("can be asked only of providers that have been set up", () => {
    const variables: Readonly<Record<string, string | undefined>> = {
      SPOTIFY_CLIENT_ID: undefined,
      GOOGLE_CLIENT_ID: undefined,
      LASTFM_API_KEY: undefined,
      APPLE_DEVELOPER_TOKEN: undefined,
    };
    const settings = standIn.settings(variables as Record<string, string>);
    expect([...identifiersOf(settings, clientsOf(settings)).keys()]).to.deep.equal(["listenbrainz"]);
    expect([...providersOf(settings, clientsOf(settings)).keys()]).to.deep.equal(["listenbrainz"]);
  });
});
