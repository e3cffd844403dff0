import { BaseModel } from "./BaseModel.js";
import type { CatalogueEntity } from "./enums.js";

/** One artist, album or track as it is searched for. Made from the catalogue by services/search. See docs/adr/0016. */
export class SearchDocument extends BaseModel {
  static override readonly tableName = "search_documents";
  static override readonly idColumn = ["entityId", "entity"];

  declare entity: CatalogueEntity;
  declare entityId: number;
  declare name: string;
  /** A tsvector, as text. */
  declare words: string;
  declare popularity: number;
  declare tier: 0 | 1 | 2;
}
