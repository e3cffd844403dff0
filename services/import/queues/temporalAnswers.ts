/** What Temporal's answers mean in the words of the port. */
import { isGrpcServiceError } from "@temporalio/client";
import type { WorkflowExecutionStatusName } from "@temporalio/client";
import { QueueRejectedError, QueueUnavailableError } from "../ImportQueue.js";
import type { QueueState } from "../ImportQueue.js";

/** gRPC: deadline exceeded, resource exhausted, unavailable. Whether the call took effect is unknown. */
const UNKNOWN_OUTCOME: readonly number[] = [4, 8, 14];
const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;

export function stateOf(status: WorkflowExecutionStatusName): QueueState {
  switch (status) {
    case "COMPLETED":
      return "completed";
    case "FAILED":
      return "failed";
    case "CANCELLED":
      return "cancelled";
    case "TERMINATED":
      return "terminated";
    case "TIMED_OUT":
      return "timed_out";
    default:
      return "open"; // running, paused by an operator, or continued as a new run
  }
}

/** The service's answer somewhere in the causes, whatever the client wrapped it in. */
function grpcCodeOf(error: unknown): number | undefined {
  for (let link = error; link instanceof Error; link = link.cause) {
    if (isGrpcServiceError(link)) return link.code;
  }
  return undefined;
}

/** The server does not know what was asked for (any more). */
export const isNotFound = (error: unknown): boolean => grpcCodeOf(error) === NOT_FOUND;

/** The server knows no such search attribute. */
export function isMissingAttribute(error: unknown): boolean {
  if (grpcCodeOf(error) !== INVALID_ARGUMENT) return false;
  for (let link = error; link instanceof Error; link = link.cause) {
    if (/search attribute/i.test(link.message)) return true;
  }
  return false;
}

export function toQueueError(error: unknown): Error {
  const code = grpcCodeOf(error);
  const reason = error instanceof Error ? error.message : String(error);
  if (code === undefined || UNKNOWN_OUTCOME.includes(code))
    return new QueueUnavailableError(`Temporal did not answer: ${reason}`, { cause: error });
  return new QueueRejectedError(`Temporal refused: ${reason}`, { cause: error });
}
