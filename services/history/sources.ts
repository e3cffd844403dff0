/** Families of sources, and the groups that filters take for all families of one provider. */
import { PLAY_SOURCES, type PlaySource } from "../import/types.js";

const SOURCE_GROUPS = ["spotify", "apple", "youtube"] as const;
export type SourceGroup = (typeof SOURCE_GROUPS)[number];

/** What a filter by source takes. */
export const SOURCE_FILTERS: readonly (PlaySource | SourceGroup)[] = [...PLAY_SOURCES, ...SOURCE_GROUPS];

const isGroup = (filter: string): boolean => SOURCE_GROUPS.some((group) => group === filter);

/** The families a filter by source means: itself, or all of the group (`spotify` = `spotify-...`). */
export const familiesOf = (filter: PlaySource | SourceGroup): readonly PlaySource[] =>
  PLAY_SOURCES.filter((family) => (isGroup(filter) ? family.startsWith(`${filter}-`) : family === filter));
