/** The phase of a run as a search attribute: one event each, so at changes of the phase only. */
import { defineSearchAttributeKey, SearchAttributeType } from "@temporalio/common";
import { upsertSearchAttributes } from "@temporalio/workflow";
import { SEARCH_ATTRIBUTES } from "./contracts.js";
import type { ImportPhase } from "./contracts.js";

const phaseKey = defineSearchAttributeKey(SEARCH_ATTRIBUTES.phase, SearchAttributeType.KEYWORD);
const providerKey = defineSearchAttributeKey(SEARCH_ATTRIBUTES.provider, SearchAttributeType.KEYWORD);

/** Writes nothing in a run that was started without search attributes. */
export function showPhase(
  run: { readonly searchAttributes: boolean },
  phase: ImportPhase,
  provider?: string,
): void {
  if (!run.searchAttributes) return;
  upsertSearchAttributes([
    { key: phaseKey, value: phase },
    ...(provider === undefined ? [] : [{ key: providerKey, value: provider }]),
  ]);
}
