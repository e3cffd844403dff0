import type { NativeConnection } from "@temporalio/worker";
import type { Logger } from "../utils/logger.js";
import { SEARCH_ATTRIBUTES } from "../workflows/contracts.js";

/** temporal.api.enums.v1.IndexedValueType */
const KEYWORD = 2;
/** gRPC: already exists. */
const ALREADY_EXISTS = 6;

/**
 * Makes the search attributes of imports known to the server; what it knows already is left as it is. A server
 * that does not allow it (no operator rights) costs the attributes, not the imports: imports then start without.
 */
export async function registerSearchAttributes(
  connection: NativeConnection,
  namespace: string,
  log: Logger,
): Promise<void> {
  try {
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
    const missing = Object.values(SEARCH_ATTRIBUTES).filter((name) => !(name in customAttributes));
    if (missing.length === 0) return;
    await connection.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
    });
    log.info("search attributes registered", { attributes: missing });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === ALREADY_EXISTS) return; // another worker was first
    log.warn("search attributes could not be registered; imports cannot be found by them", { error });
  }
}
