/**
 * The documentation page, rendered by koa2-swagger-ui and then made safe to serve. By itself that package loads
 * scripts from a CDN and fonts from Google, answers every path that ends in its prefix, and writes script and
 * style into the page, which our Content-Security-Policy forbids. So only its page is used: foreign links go,
 * and what is inline moves into files of our own.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import type Koa from "koa";
import { koaSwagger } from "koa2-swagger-ui";
// Not the package itself, which would load all of the page's scripts into this process.
import absolutePath from "swagger-ui-dist/absolute-path.js";

const PREFIX = "/docs";
const ASSETS = `${PREFIX}/assets`;

export const CONTENT_SECURITY_POLICY =
  "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Name in the page → file of swagger-ui-dist. */
const PACKAGE_FILES: Readonly<Record<string, string>> = {
  "swagger-ui.min.css": "swagger-ui.css",
  "swagger-ui-bundle.js": "swagger-ui-bundle.js",
  "swagger-ui-standalone-preset.js": "swagger-ui-standalone-preset.js",
  "favicon-32x32.png": "favicon-32x32.png",
};

export interface DocsPage {
  readonly html: string;
  /** Null when the page has no such file. */
  asset(name: string): Promise<Buffer | string | null>;
}

/** Throws when the package's page no longer has the shape that is expected here. */
export function docsPage(): DocsPage {
  const raw = renderPackagePage();
  const script = only(raw, /<script>([\s\S]*?)<\/script>/g);
  const style = only(raw, /<style>([\s\S]*?)<\/style>/g);
  const html = raw
    .replace(/\s*<link href="https:\/\/fonts\.googleapis\.com[^>]*>/, "")
    .replace(style.whole, `<link rel="stylesheet" href="${ASSETS}/page.css">`)
    .replace(script.whole, `<script src="${ASSETS}/init.js"></script>`)
    .replace(/<svg ([^>]*) style="[^"]*">/, '<svg $1 class="symbols">');
  if (/https?:\/\/(?!www\.w3\.org\/)|\sstyle=|<script>/.test(html)) {
    throw new Error("koa2-swagger-ui renders a page that is not known here");
  }
  const own: Readonly<Record<string, string>> = {
    "init.js": script.inner,
    "page.css": `${style.inner}\n.symbols { position: absolute; width: 0; height: 0; }\n`,
  };
  return {
    html,
    asset: async (name) => {
      if (Object.hasOwn(own, name)) return own[name] ?? null;
      const file = Object.hasOwn(PACKAGE_FILES, name) ? PACKAGE_FILES[name] : undefined;
      return file === undefined ? null : readFile(path.join(absolutePath(), file));
    },
  };
}

function renderPackagePage(): string {
  const render = koaSwagger({
    title: "playlog API",
    routePrefix: PREFIX,
    // The page asks for <url>/<version>/<file>.
    swaggerCdnUrl: PREFIX,
    swaggerVersion: "assets",
    favicon: `${ASSETS}/favicon-32x32.png`,
    hideTopbar: true,
    swaggerOptions: {
      url: "/openapi.json",
      dom_id: "#swagger-ui",
      layout: "StandaloneLayout",
      validatorUrl: null,
      docExpansion: "list",
    },
  });
  const page = { path: PREFIX, type: "", body: "" };
  // The middleware reads `path` and sets `type` and `body`, nothing else.
  void render(page as unknown as Koa.ParameterizedContext, () => Promise.resolve());
  return page.body;
}

function only(html: string, pattern: RegExp): { readonly whole: string; readonly inner: string } {
  const [first, ...more] = [...html.matchAll(pattern)];
  const inner = first?.[1];
  if (first === undefined || inner === undefined || more.length > 0) {
    throw new Error("koa2-swagger-ui renders a page that is not known here");
  }
  return { whole: first[0], inner };
}
