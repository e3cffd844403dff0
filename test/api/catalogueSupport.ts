/** People of every role, and short ways to make entries of the catalogue. */
import type { TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { AnswerBody, Client } from "../support/http.js";
import { until } from "../support/until.js";

export interface Cast {
  readonly admin: Client;
  readonly editor: Client;
  readonly user: Client;
  readonly userId: string;
}

/** The app must have no account yet. */
export async function buildCast(app: TestApp): Promise<Cast> {
  const admin = await buildUser(app);
  const editor = await buildUser(app);
  const user = await buildUser(app);
  await app.deps.database.pool.query("update users set role = 'editor' where id = $1", [editor.id]);
  await until("the api knows of the role", async () => (await me(app, editor)).role === "editor");
  return { admin: app.as(admin), editor: app.as(editor), user: app.as(user), userId: user.id };
}

const me = async (app: TestApp, user: TestUser): Promise<AnswerBody> =>
  (await app.as(user).get("/api/v1/users/me")).body;

/** Creates one through the api and gives its body. */
export async function make(
  client: Client,
  kind: "artists" | "albums" | "tracks",
  body: object,
): Promise<AnswerBody> {
  return expectStatus(201, await client.post(`/api/v1/${kind}`, body)).body;
}
