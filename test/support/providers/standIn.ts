/**
 * All providers on one local port, with the documented paths and shapes and made-up plays. What a test scripts comes
 * first: `next` answers one request and is used up, `always` answers until it is taken back.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { providersOf, type ProviderSettings } from "../../../utils/providerSettings.js";
import { AppleStandIn } from "./apple.js";
import type { Answer, Exchange, Handler } from "./exchange.js";
import { json } from "./exchange.js";
import { GoogleStandIn } from "./google.js";
import { LastfmStandIn, ListenBrainzStandIn } from "./scrobblers.js";
import { SpotifyStandIn } from "./spotify.js";

interface Scripted {
  readonly path: string;
  readonly answer: Answer;
  readonly once: boolean;
}

export class StandIn {
  readonly spotify = new SpotifyStandIn();
  readonly listenbrainz = new ListenBrainzStandIn();
  readonly lastfm = new LastfmStandIn();
  readonly apple = new AppleStandIn();
  readonly google = new GoogleStandIn();
  /** Everything that was asked, in order. */
  readonly seen: Omit<Exchange, "response">[] = [];
  readonly #scripted: Scripted[] = [];
  readonly #server = createServer();

  /** @param port the one of an earlier stand-in, to come back after `stop` */
  async start(port = 0): Promise<this> {
    const handlers: Handler[] = [this.spotify, this.listenbrainz, this.lastfm, this.apple, this.google].map(
      ({ handle }) => handle,
    );
    this.#server.on("request", (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const { method = "GET", headers } = request;
        const url = new URL(request.url ?? "/", this.origin);
        const exchange = { method, url, headers, body: Buffer.concat(chunks).toString(), response };
        this.seen.push({ method, url, headers, body: exchange.body });
        const answer = this.#takeScripted(url.pathname);
        if (answer !== undefined) answer(response);
        else if (!handlers.some((handle) => handle(exchange))) json(404, { error: "no such path" })(response);
      });
    });
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    return this;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What the next request to a path that begins like this is answered with. Several wait in line. */
  next(path: string, ...answers: readonly Answer[]): void {
    this.#scripted.push(...answers.map((answer) => ({ path, answer, once: true })));
  }

  /** Every request to such a path, until `reset`. */
  always(path: string, answer: Answer): void {
    this.#scripted.push({ path, answer, once: false });
  }

  /** Takes the script back and forgets what was seen; accounts and plays stay. */
  reset(): void {
    this.#scripted.length = 0;
    this.seen.length = 0;
  }

  /** Variables of the environment with which playlog talks to this server. */
  get environment(): Readonly<Record<string, string>> {
    const urls = [
      "SPOTIFY_API_URL",
      "SPOTIFY_ACCOUNTS_URL",
      "LISTENBRAINZ_URL",
      "LASTFM_URL",
      "APPLE_MUSIC_URL",
      "GOOGLE_API_URL",
      "GOOGLE_ACCOUNTS_URL",
      "GOOGLE_TOKEN_URL",
    ];
    return {
      ...Object.fromEntries(urls.map((name) => [name, this.origin])),
      SPOTIFY_CLIENT_ID: "spotify-client",
      GOOGLE_CLIENT_ID: "google-client",
      GOOGLE_CLIENT_SECRET: "google-secret",
      LASTFM_API_KEY: this.lastfm.apiKey,
      APPLE_DEVELOPER_TOKEN: this.apple.developerToken,
      GOOGLE_FIRST_POLL_MS: "300000",
      PROVIDER_TIMEOUT_MS: "5000",
      PROVIDER_RESPONSE_MAX_BYTES: String(16 * 1024 ** 2),
      SYNC_PAGES_MAX: "200",
    };
  }

  settings(changed: Readonly<Record<string, string>> = {}): ProviderSettings {
    const variables: Readonly<Record<string, string>> = { ...this.environment, ...changed };
    return providersOf((setting) => variables[setting]);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #takeScripted(path: string): Answer | undefined {
    const at = this.#scripted.findIndex((scripted) => path.startsWith(scripted.path));
    const found = this.#scripted[at];
    if (found?.once === true) this.#scripted.splice(at, 1);
    return found?.answer;
  }
}

export const startStandIn = (): Promise<StandIn> => new StandIn().start();
