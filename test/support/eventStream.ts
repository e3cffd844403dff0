/** A reader of Server-Sent Events over fetch, which takes what has come piece by piece. */

export interface ServerEvent {
  readonly id: string | undefined;
  readonly event: string | undefined;
  /** Parsed. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- as AnswerBody: expectations look into it
  readonly data: any;
}

/** A block between two empty lines. */
type Block = ServerEvent | "comment" | "retry";

export class EventStream {
  readonly #reader: ReadableStreamDefaultReader<string> | undefined;
  readonly #abort: AbortController;
  #text = "";

  private constructor(
    readonly status: number,
    readonly headers: Headers,
    body: ReadableStream<Uint8Array> | null,
    abort: AbortController,
  ) {
    this.#reader = body?.pipeThrough(new TextDecoderStream()).getReader();
    this.#abort = abort;
  }

  static async open(
    url: string,
    accessToken: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<EventStream> {
    const abort = new AbortController();
    const response = await fetch(url, {
      headers: { authorization: `Bearer ${accessToken}`, ...headers },
      signal: abort.signal,
    });
    return new EventStream(response.status, response.headers, response.body, abort);
  }

  /** The next event; what stands between is skipped. Null at the end of the stream. */
  async event(): Promise<ServerEvent | null> {
    for (;;) {
      const block = await this.block();
      if (block === null || typeof block === "object") return block;
    }
  }

  /** All events up to the end of the stream. */
  async rest(): Promise<ServerEvent[]> {
    const events: ServerEvent[] = [];
    for (let event = await this.event(); event !== null; event = await this.event()) events.push(event);
    return events;
  }

  async block(): Promise<Block | null> {
    let border = this.#text.indexOf("\n\n");
    const pieces = [this.#text]; // a block may come in hundreds of pieces
    while (border < 0) {
      const piece = await this.#reader?.read();
      if (piece === undefined || piece.done) return null;
      const [before, now] = [pieces.at(-1)?.slice(-1) ?? "", piece.value];
      pieces.push(now);
      if ((before + now).includes("\n\n")) border = pieces.join("").indexOf("\n\n");
    }
    const text = pieces.join("");
    const block = text.slice(0, border);
    this.#text = text.slice(border + 2);
    if (block.startsWith(":")) return "comment";
    if (block.startsWith("retry:")) return "retry";
    const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1];
    return { id: field("id"), event: field("event"), data: JSON.parse(field("data") ?? "null") };
  }

  /** The client goes away. */
  close(): void {
    this.#abort.abort();
  }
}
