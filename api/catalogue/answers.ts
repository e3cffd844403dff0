/** Answers that artists, albums and tracks have in common. */
import Joi from "joi";
import type { CataloguePage } from "../../services/catalog/listing.js";
import type { Created } from "../../services/catalog/CatalogueService.js";
import { type Found, Moved } from "../../services/catalog/references.js";
import type { ResponseDoc } from "../middleware/endpoint.js";
import { assertEditableMatch, sendEditable } from "../middleware/entityTags.js";
import { component } from "../openapi/components.js";
import { id } from "../schemas.js";
import type { AppContext } from "../types.js";
import type { Form } from "./presenter.js";

/** Permanent, and for every method: what is sent to the old id is meant for the one that it has become. */
const MOVED = 308;

const movedView = component(
  "Moved",
  Joi.object({ id: id().required().description("The one that it is now") }),
);

export const movedResponse: Readonly<Record<typeof MOVED, ResponseDoc>> = {
  [MOVED]: {
    description: "It was merged into another one",
    schema: movedView,
    headers: { Location: "Address of the one that it is now" },
  },
};

export const changeErrors = {
  409: "`taken`: a name or an id belongs to another one, which `errors` names; `reserved`: not to be changed so",
} as const;

/** `path` is that of the list: `/api/v1/artists`; `suffix` what follows the id in the address that was asked. */
export function sendFound<T>(
  ctx: AppContext,
  path: string,
  found: Found<T>,
  { present, editable }: Form<T>,
  suffix = "",
): void {
  if (found instanceof Moved) {
    ctx.status = MOVED;
    ctx.set("Location", `${path}/${found.id}${suffix}`);
    ctx.body = { id: found.id };
    return;
  }
  sendEditable(ctx, present(found), editable(found));
}

export function sendCreated<T extends { readonly id: number }>(
  ctx: AppContext,
  path: string,
  { item, created }: Created<T>,
  { present, editable }: Form<T>,
): void {
  ctx.set("Location", `${path}/${item.id}`);
  sendEditable(ctx, present(item), editable(item), created ? 201 : 200);
}

/** What a change asks of the state that it finds: that `If-Match` names it. */
export const unchanged =
  <T>(ctx: AppContext, { editable }: Form<T>) =>
  (current: T): void =>
    assertEditableMatch(ctx, editable(current));

export const presentPage = <T>(
  { items, nextCursor }: CataloguePage<T>,
  present: (item: T) => unknown,
): { readonly data: readonly unknown[]; readonly nextCursor: string | null } => ({
  data: items.map((item) => present(item)),
  nextCursor,
});
