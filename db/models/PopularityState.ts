import { BaseModel } from "./BaseModel.js";

/** One row: how far the popularity of the catalogue is up to date. Read and written by services/catalog/popularity.ts alone. */
export class PopularityState extends BaseModel {
  static override readonly tableName = "popularity_state";

  declare id: number;
  /** Versions of histories and catalogue, and newest ids, when the last pass began. */
  declare seen: string;
  /** Numbers were written that nobody was told of yet. */
  declare pending: boolean;
  declare finishedAt: Date | null;
  declare tookMs: number;
}
