/**
 * An example for every body of the OpenAPI document, made from its schema: what a field is called says what it looks like.
 * A test holds each one against the schema it stands beside.
 */
type Json = Record<string, unknown>;

const UUID = "0193e5c1-7a40-7d5e-9a3b-2f6c8d1e4b70";
const TIME = "2026-03-14T19:05:42.000Z";

/** By the name of a field, or by that of the field around it and its own. The first that fits the type is taken. */
const SAMPLES: Readonly<Record<string, readonly unknown[]>> = {
  accessToken: ["eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOi..."],
  account: ["ada"],
  album: ["Night Ferry"],
  "album.title": ["Night Ferry"],
  artist: ["Velvet Harbour"],
  "artist.name": ["Velvet Harbour"],
  "artists.name": ["Velvet Harbour"],
  avatarUrl: ["https://example.org/ada.png"],
  bio: ["Mostly on trains."],
  bucket: ["2026-03-14", "2026-03-14T19:00:00+01:00"],
  code: ["bad_time"],
  country: ["GB"],
  currentPassword: ["a long enough password"],
  detail: ["Something in the request body is not valid"],
  displayName: ["Ada"],
  durationMs: [214_000],
  email: ["ada@example.org"],
  excerpt: ['{"ts":"yesterday","ms_played":183000}'],
  expiresIn: [600],
  externalId: ["4uLU6hMCjMI75M1A2tKUQC"],
  "externalIds.id": ["4uLU6hMCjMI75M1A2tKUQC"],
  filename: ["my_spotify_data.zip"],
  format: ["spotify-extended"],
  isrc: ["GBAYE0601498"],
  login: ["ada"],
  message: ["ts is not a time of the form this export uses"],
  migration: ["20261125100000_create_users"],
  msPlayed: [183_000],
  name: ["Velvet Harbour"],
  newPassword: ["an even longer password"],
  nextCursor: [null],
  password: ["a long enough password"],
  part: ["Streaming_History_Audio_2024_1.json"],
  "parts.name": ["Streaming_History_Audio_2024_1.json"],
  path: ["playedAt"],
  popularity: [1204],
  reason: ["podcast"],
  refreshToken: ["0193e5c1-7a40-7d5e-9a3b-2f6c8d1e4b70.0.XguP3k..."],
  releaseDate: ["2024-05-17"],
  requestId: [UUID],
  score: [0.87],
  sha256: ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
  sizeBytes: [18_800_000],
  source: ["spotify-extended"],
  sources: ["spotify-extended"],
  spotifyId: ["4uLU6hMCjMI75M1A2tKUQC"],
  timeZone: ["Europe/London"],
  title: ["Last Train to Anywhere"],
  "albums.title": ["Night Ferry"],
  token: ["playlog_5zq..."],
  tz: ["Europe/London"],
  userAgent: ["Mozilla/5.0"],
  username: ["ada"],
  workflowId: [`import-${UUID}-1`],
};

/**
 * @param schema JSON Schema as the document has it
 * @param resolve what a `$ref` stands for
 * @param name of the field it is for, and of the field around that
 */
export function exampleOf(schema: Json, resolve: (ref: string) => Json, name = "", around = ""): unknown {
  const inner = (child: unknown, childName: string, childAround: string): unknown =>
    exampleOf(child as Json, resolve, childName, childAround);
  if (typeof schema["$ref"] === "string") return inner(resolve(schema["$ref"]), name, around);
  if ("const" in schema) return schema["const"];
  if (Array.isArray(schema["examples"])) return schema["examples"][0];
  if ("example" in schema) return schema["example"];
  if (Array.isArray(schema["enum"])) return schema["enum"].find((value) => value !== null) ?? null;
  const alternatives = schema["anyOf"] ?? schema["oneOf"];
  if (Array.isArray(alternatives)) return inner(alternatives[0], name, around);

  const types = [schema["type"]].flat();
  if (types.includes("object")) {
    const { properties = {} } = schema as { properties?: Record<string, Json> };
    return Object.fromEntries(
      Object.entries(properties).map(([field, child]) => [field, inner(child, field, name || around)]),
    );
  }
  if (types.includes("array")) {
    const { items, prefixItems } = schema as { items?: Json; prefixItems?: readonly Json[] };
    const item = items ?? prefixItems?.[0];
    return item === undefined ? [] : [inner(item, name, around)];
  }
  const fits = (value: unknown): boolean => types.some((type) => isOf(type, value));
  const sample = [...(SAMPLES[`${around}.${name}`] ?? []), ...(SAMPLES[name] ?? [])].find(fits);
  if (sample !== undefined && schema["format"] !== "uuid" && schema["format"] !== "date-time") return sample;
  return plain(schema, types);
}

function isOf(type: unknown, value: unknown): boolean {
  if (type === "null") return value === null;
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}

/** For a field whose name says nothing. */
function plain(schema: Json, types: readonly unknown[]): unknown {
  const {
    format,
    minimum = 1,
    default: usual,
  } = schema as { format?: string; minimum?: number; default?: unknown };
  if (usual !== undefined) return usual;
  if (types.includes("string")) {
    if (format === "uuid") return UUID;
    if (format === "date-time") return TIME;
    if (format === "date") return TIME.slice(0, 10);
    if (format === "uri") return "https://example.org/";
    return "text";
  }
  if (types.includes("integer") || types.includes("number")) return Math.max(minimum, 1);
  if (types.includes("boolean")) return true;
  return null;
}
