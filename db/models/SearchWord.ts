import { BaseModel } from "./BaseModel.js";

/** A word that a misspelt one may stand for. */
export class SearchWord extends BaseModel {
  static override readonly tableName = "search_words";
  static override readonly idColumn = "word";

  declare word: string;
  declare documents: number;
  /** Hashes of the word and of what a slip of one letter leaves of it; see services/search/spelling.ts. */
  declare near: number[];
}
