/** A UUID as PostgreSQL writes it: lower case, no braces. */
export const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Time-ordered, so that rows made together lie together in an index. */
export { v7 as uuidv7 } from "uuid";
