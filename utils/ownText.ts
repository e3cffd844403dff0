/**
 * The same text in memory of its own. What is cut out of a longer one (a cell out of a piece of a CSV file) is kept by the
 * engine as a view of it, and so remembering one name would hold all of the 64 KB that it was read with.
 */
export const ownText = (text: string): string =>
  text.length < SHORTEST_VIEW ? text : (JSON.parse(JSON.stringify(text)) as string);

/** V8 copies shorter ones by itself. */
const SHORTEST_VIEW = 13;
