import { Model } from "objection";

/**
 * What all models share. No model is bound to a connection: pass `database.knex` or a transaction to `query()`.
 * Properties are camelCase here and snake_case in SQL; knex translates.
 */
export class BaseModel extends Model {
  /** `first()` alone would fetch every row and throw the rest away. */
  static override useLimitInFirst = true;
}
