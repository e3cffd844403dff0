import { BaseModel } from "./BaseModel.js";
import type { CatalogueEntity, ExternalIdProvider } from "./enums.js";

/** A strong id; a known one decides identity before any text does. `entityId` is of the table that `entity` names. */
export class ExternalId extends BaseModel {
  static override readonly tableName = "external_ids";
  static override readonly idColumn = ["entity", "provider", "externalId"];

  declare entity: CatalogueEntity;
  declare provider: ExternalIdProvider;
  declare externalId: string;
  declare entityId: number;
  declare createdAt: Date;
}
