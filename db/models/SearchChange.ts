import { BaseModel } from "./BaseModel.js";
import type { CatalogueEntity } from "./enums.js";

/** Catalogue rows that the search index does not show as they are now. Noted by triggers. */
export class SearchChange extends BaseModel {
  static override readonly tableName = "search_changes";

  declare id: number;
  declare entity: CatalogueEntity;
  declare ids: number[];
  declare renamed: boolean;
}
