/** Joi types and views that artists, albums and tracks share. */
import Joi from "joi";
import { EXTERNAL_ID_PROVIDERS, type ExternalIdProvider } from "../../db/models/enums.js";
import type { ExternalIdView } from "../../db/queries/catalogue.js";
import type { CatalogueQuery } from "../../services/catalog/listing.js";
import { cursor, id, idParam, pageSize, text } from "../schemas.js";

/** Also of what an import takes from a file. */
const NAME_MAX_BYTES = 4096;
const EXTERNAL_IDS_MAX = 100;

/** Its key decides which one it is, so there has to be something to make a key of. */
export const name = (): Joi.StringSchema =>
  text(NAME_MAX_BYTES).pattern(/\S/, { name: "text that is not blank" });

interface Form {
  readonly pattern: RegExp;
  readonly words: string;
}

const FORMS: Readonly<Record<ExternalIdProvider, Form>> = {
  spotify: { pattern: /^[A-Za-z0-9]{22}$/, words: "22 letters and digits, as at the end of a Spotify URI" },
  apple: { pattern: /^\d{1,20}$/, words: "a number of Apple's catalogue" },
  youtube: { pattern: /^[\w-]{1,64}$/, words: "an id as in a YouTube address" },
  musicbrainz: {
    pattern: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
    words: "a MusicBrainz id: a UUID in lower case",
  },
  isrc: { pattern: /^[A-Z]{2}[A-Z0-9]{3}\d{7}$/, words: "an ISRC without hyphens, like GBUM71029604" },
};

export const isrc = (): Joi.StringSchema =>
  Joi.string().pattern(FORMS.isrc.pattern, { name: FORMS.isrc.words });

/** Strong ids. Each belongs to one artist, album or track. */
export const externalIds = (): Joi.ArraySchema<ExternalIdView[]> =>
  Joi.array<ExternalIdView[]>()
    .items(
      Joi.object<ExternalIdView>({
        provider: Joi.string()
          .valid(...EXTERNAL_ID_PROVIDERS)
          .required(),
        id: text(100).required().description("In the form of its provider"),
      }).custom((value: ExternalIdView, helpers) => {
        const { pattern, words } = FORMS[value.provider];
        return pattern.test(value.id) ? value : helpers.error("string.pattern.name", { name: words });
      }),
    )
    .max(EXTERNAL_IDS_MAX);

export const artistChoice = {
  artistId: id().description("Whose it is"),
  artist: name().description("In place of artistId: the artist's name, found or created"),
};

/** One of the two, not both. */
export const withArtist = <T>(schema: Joi.ObjectSchema<T>): Joi.ObjectSchema<T> =>
  schema.xor("artistId", "artist");

const listFields = {
  sort: Joi.string()
    .valid("popular", "name")
    .default("popular")
    .description("Most plays first, everybody's counted; or by name"),
  q: text(NAME_MAX_BYTES).description(
    "Only names that begin so; case, quotes, hyphens and spaces do not matter. /search forgives typing errors",
  ),
  limit: pageSize(),
  cursor: cursor(),
};

export const listQuery = () => Joi.object<CatalogueQuery>(listFields);

export const listOfArtistQuery = () =>
  Joi.object<CatalogueQuery>({ ...listFields, artistId: idParam().description("Only this artist's") });

export const idParams = () => Joi.object<{ id: number }>({ id: idParam().required() });

export interface MergeBody {
  readonly into: number;
}

export const mergeBody = () =>
  Joi.object<MergeBody>({ into: id().required().description("The one that stays") });

export const namedArtist = () =>
  Joi.object({ id: id().required(), name: Joi.string().required() }).required();

export const nullableText = () => Joi.string().allow(null).required();
export const nullableNumber = () => Joi.number().integer().allow(null).required();
export const popularity = () =>
  Joi.number().integer().min(0).required().description("Plays of everybody, as far as they count");

export const externalIdsView = () =>
  Joi.array()
    .items(
      Joi.object({
        provider: Joi.string()
          .valid(...EXTERNAL_ID_PROVIDERS)
          .required(),
        id: Joi.string().required(),
      }),
    )
    .required();

export const pageOf = (item: Joi.Schema) =>
  Joi.object({
    data: Joi.array().items(item).required(),
    nextCursor: Joi.string().allow(null).required().description("null on the last page"),
  });
