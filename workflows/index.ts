/** The workflows of the bundle; each export is a workflow type. */
export { eraseAccount } from "./eraseAccount.js";
export { importHistory } from "./importHistory.js";
export { syncConnection } from "./syncConnection.js";
export { undoImport } from "./undoImport.js";
