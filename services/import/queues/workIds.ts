/** How a piece of work is named in a queue, whichever it is: the id of its workflow, which is a valid id of a BullMQ job as well. */
import { eraseWorkflowId, importWorkflowId, undoWorkflowId } from "../../../workflows/contracts.js";
import type { WorkRef } from "../ImportQueue.js";

export function workIdOf(ref: WorkRef): string {
  switch (ref.kind) {
    case "import":
      return importWorkflowId(ref.importId, ref.attempt);
    case "undo":
      return undoWorkflowId(ref.importId);
    case "erase":
      return eraseWorkflowId(ref.userId);
  }
}
