import Router from "@koa/router";
import { toAppError } from "../../../db/errors.js";
import { AppError } from "../../../utils/errors.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppContext, AppDeps, AppRouter } from "../../types.js";
import { checkRange } from "../../upload/options.js";
import { presentImport } from "../imports/presenter.js";
import { CONTENT_SECURITY_POLICY, endPage } from "./page.js";
import { presentAvailability, presentConnection } from "./presenter.js";
import {
  authorizeConnection,
  createConnection,
  deleteConnection,
  finishConnection,
  listConnections,
  scheduleConnection,
  syncConnection,
} from "./schema.js";

export function connectionsRouter({ connections }: Pick<AppDeps, "connections">): AppRouter {
  const router: AppRouter = new Router();

  mount(router, listConnections, async (ctx, { caller }) => {
    const { data, providers } = await connections.list(caller.userId);
    ctx.body = { data: data.map(presentConnection), providers: providers.map(presentAvailability) };
  });

  mount(router, createConnection, async (ctx, { caller, body }) => {
    const { connection, created } = await connections.connect(caller.userId, body);
    ctx.status = created ? 201 : 200;
    ctx.body = presentConnection(connection);
  });

  mount(router, authorizeConnection, async (ctx, { caller, params }) => {
    // Never null: the scope of the endpoint lets sessions in only.
    const url = await connections.authorize(caller.userId, caller.sessionId ?? "", params.provider);
    ctx.body = { url };
  });

  mount(router, finishConnection, async (ctx, { params, query }) => {
    ctx.set("Cache-Control", "no-store");
    ctx.vary("Accept");
    if (ctx.accepts("application/json", "text/html") !== "text/html") {
      const { connection, username } = await connections.complete(params.provider, query);
      ctx.body = { provider: connection.provider, account: connection.account, username };
      return;
    }
    const page = await pageOf(() => connections.complete(params.provider, query));
    ctx.status = page.status;
    answerPage(ctx, page);
  });

  mount(router, scheduleConnection, async (ctx, { caller, params, body }) => {
    ctx.body = presentConnection(await connections.setSchedule(caller.userId, params.id, body));
  });

  mount(router, syncConnection, async (ctx, { caller, params, query }) => {
    checkRange(query);
    const { job, opened } = await connections.sync(caller.userId, params.id, query);
    ctx.status = opened ? 202 : 200;
    ctx.set("Location", `/api/v1/imports/${job.id}`);
    ctx.body = presentImport(job);
  });

  mount(router, deleteConnection, async (ctx, { caller, params }) => {
    await connections.remove(caller.userId, params.id);
    ctx.status = 204;
  });

  return router;
}

interface Page {
  readonly status: number;
  readonly title: string;
  readonly sentences: readonly string[];
}

/** A person looks at what went wrong, so it is told as a page, too; mistakes of ours are left to the one renderer. */
async function pageOf(
  complete: () => Promise<{
    readonly connection: { readonly provider: string; readonly account: string };
    readonly username: string;
  }>,
): Promise<Page> {
  try {
    const { connection, username } = await complete();
    return {
      status: 200,
      title: "Connected",
      sentences: [
        `The account ${connection.account} at ${connection.provider} is now connected to the account ${username} of this playlog.`,
        "If that is not you, take the access back in the settings of your account at the provider.",
        "You can close this page.",
      ],
    };
  } catch (thrown) {
    const error = toAppError(thrown);
    if (!(error instanceof AppError)) throw thrown;
    return {
      status: error.status,
      title: "Not connected",
      sentences: [`${error.message}.`, "Nothing was stored. You can close this page."],
    };
  }
}

function answerPage(ctx: AppContext, { title, sentences }: Page): void {
  ctx.set("Content-Security-Policy", CONTENT_SECURITY_POLICY);
  ctx.body = endPage(title, sentences);
  ctx.type = "text/html";
}
