/** The search attributes by which work is found in Temporal. */
import { defineSearchAttributeKey, SearchAttributeType } from "@temporalio/common";
import type { SearchAttributePair } from "@temporalio/common";
import { SEARCH_ATTRIBUTES } from "../../../workflows/contracts.js";

/** What is null or absent is not said. */
export interface Findable {
  readonly userId: string;
  readonly kind: string;
  readonly phase?: string;
  readonly provider?: string | null;
  readonly connectionId?: string | null | undefined;
}

const keyword = (name: string) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);

export function attributesOf({
  userId,
  kind,
  phase,
  provider,
  connectionId,
}: Findable): SearchAttributePair[] {
  const pair = (name: string, value: string | null | undefined): SearchAttributePair[] =>
    value == null ? [] : [{ key: keyword(name), value }];
  return [
    ...pair(SEARCH_ATTRIBUTES.user, userId),
    ...pair(SEARCH_ATTRIBUTES.kind, kind),
    ...pair(SEARCH_ATTRIBUTES.phase, phase),
    ...pair(SEARCH_ATTRIBUTES.provider, provider),
    ...pair(SEARCH_ATTRIBUTES.connection, connectionId),
  ];
}
