import { BaseModel } from "./BaseModel.js";

/** A loose key that a track has lost or won, so that plays may have to be linked anew. */
export class LinkChange extends BaseModel {
  static override readonly tableName = "link_changes";

  declare id: number;
  declare looseKey: string;
}
