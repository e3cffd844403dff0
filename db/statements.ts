/** Tells whoever wants to know of the statements of a database: what was sent and how it ended, never the values. */

export interface StatementEnd {
  readonly ms: number;
  /** Returned or touched; null when it failed, and when the server does not say. */
  readonly rows: number | null;
  /** Null when it succeeded. */
  readonly error: unknown;
}

/** Called when a statement is sent, with its text; what it returns, when it has ended. Must not throw. */
export type StatementObserver = (text: string) => (end: StatementEnd) => void;

type Ended = (error: unknown, result?: unknown) => void;

export class Statements {
  #observers: readonly StatementObserver[] = [];

  observe(observer: StatementObserver): void {
    this.#observers = [...this.#observers, observer];
  }

  /**
   * @param query what pg's `query` takes first: text, a configuration, or a query of its own kind, such as COPY
   * @returns to be called at the end, more than once if need be; undefined when nobody wants to know
   */
  began(query: unknown): Ended | undefined {
    if (this.#observers.length === 0) return undefined;
    const text = textOf(query);
    const told = this.#observers.map((observer) => observer(text));
    const started = performance.now();
    let over = false;
    return (error, result) => {
      if (over) return;
      over = true;
      const failed = error !== null && error !== undefined;
      const end = {
        ms: performance.now() - started,
        rows: failed ? null : rowsOf(result ?? query),
        error: failed ? error : null,
      };
      for (const tell of told) tell(end);
    };
  }
}

function textOf(query: unknown): string {
  if (typeof query === "string") return query;
  if (typeof query !== "object" || query === null || !("text" in query)) return "";
  return typeof query.text === "string" ? query.text : "";
}

function rowsOf(result: unknown): number | null {
  if (typeof result !== "object" || result === null || !("rowCount" in result)) return null;
  return typeof result.rowCount === "number" ? result.rowCount : null;
}

export type Operation = "select" | "insert" | "update" | "delete" | "copy" | "transaction" | "other";

const FIRST_WORD = /^(?:\s+|--[^\n]*\n|\/\*.*?\*\/)*([a-z]+)/is;
const FIRST_WORDS: Readonly<Record<string, Operation>> = {
  select: "select",
  values: "select",
  insert: "insert",
  update: "update",
  delete: "delete",
  copy: "copy",
  begin: "transaction",
  start: "transaction",
  commit: "transaction",
  rollback: "transaction",
  savepoint: "transaction",
  release: "transaction",
};
/** What a statement that begins with common table expressions writes, in the order in which it is looked for. */
const WRITES: readonly (readonly [RegExp, Operation])[] = [
  [/\binsert\s+into\b/i, "insert"],
  [/\bdelete\s+from\b/i, "delete"],
  [/\bupdate\s+\S+\s+(?:as\s+)?(?:\w+\s+)?set\b/i, "update"],
];

/** What kind of statement this is, by its first word; by what it writes, when that is `with`. */
export function operationOf(text: string): Operation {
  const word = FIRST_WORD.exec(text)?.[1]?.toLowerCase() ?? "";
  if (word !== "with") return FIRST_WORDS[word] ?? "other";
  return WRITES.find(([form]) => form.test(text))?.[1] ?? "select";
}
