import { BaseModel } from "./BaseModel.js";
import type { CatalogueEntity } from "./enums.js";

/** An id that was merged away, and the one that it stands for. `intoId` is always there, also after further merges. */
export class CatalogueMerge extends BaseModel {
  static override readonly tableName = "catalogue_merges";
  static override readonly idColumn = ["entity", "oldId"];

  declare entity: CatalogueEntity;
  declare oldId: number;
  declare intoId: number;
  declare mergedAt: Date;
}
