/**
 * Type-aware lint, and the arrows of the tree: api -> services -> db, activities -> services, workflows -> contracts
 * only, utils is a leaf. What lint cannot say is in test/architecture.test.ts.
 */
import { builtinModules } from "node:module";
import tseslint from "typescript-eslint";

const nodeBuiltIns = [...builtinModules, "node:*"];

/** @param {{ group: string[], message: string }[]} patterns */
const forbid = (...patterns) => ({
  "@typescript-eslint/no-restricted-imports": ["error", { patterns }],
});
/** Folders of ours, from any depth below the root. */
const folders = (...names) => names.flatMap((name) => [`../${name}/**`, `**/../${name}/**`]);
const config = {
  group: ["**/config.js"],
  message: "Only entry points read settings; take values as arguments.",
  allowTypeImports: true,
};
const koa = { group: ["koa", "koa-*", "@koa/*", "koa2-*"], message: "Koa stays in api/." };
const temporalClient = { group: ["@temporalio/*"], message: "Temporal stays behind the ImportQueue port." };

export default tseslint.config(
  { ignores: ["node_modules/", "dist/", ".playlog/", "coverage/", "test/workflows/histories/"] },
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/switch-exhaustiveness-check": [
        "error",
        { considerDefaultExhaustiveForUnions: true },
      ],
      "@typescript-eslint/no-unused-vars": [
        "error",
        { argsIgnorePattern: "^_", varsIgnorePattern: "^_", caughtErrorsIgnorePattern: "^_" },
      ],
      // Numbers in template strings are fine; objects and undefined are what this rule is for.
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true, allowNullish: false },
      ],
      eqeqeq: ["error", "always", { null: "ignore" }],
      "no-restricted-properties": [
        "error",
        {
          object: "process",
          property: "env",
          message: "Only entry points, dev/, test/ and bench/ read the environment.",
        },
      ],
    },
  },
  {
    files: [
      "api/server.ts",
      "activities/worker.ts",
      "db/migrate.ts",
      "dev/**/*.ts",
      "test/**/*.ts",
      "bench/**/*.ts",
    ],
    rules: { "no-restricted-properties": "off" },
  },
  {
    files: ["utils/**/*.ts"],
    rules: forbid({
      group: [
        ...folders("api", "services", "db", "workflows", "activities", "dev", "test", "bench"),
        "**/config.js",
      ],
      message: "utils/ is a leaf.",
    }),
  },
  {
    files: ["db/**/*.ts"],
    ignores: ["db/migrations/**"],
    rules: forbid(
      {
        group: folders("api", "services", "workflows", "activities", "dev", "test", "bench"),
        message: "db/ knows utils/ only.",
      },
      config,
      koa,
      temporalClient,
    ),
  },
  {
    files: ["db/migrations/**/*.ts"],
    rules: forbid({
      group: ["./*", "../*", "../../*", "!knex"],
      message: "A migration never changes; what it would import does.",
    }),
  },
  {
    files: ["services/**/*.ts"],
    ignores: ["services/import/queues/**"],
    rules: forbid(
      {
        group: folders("api", "activities", "dev", "test", "bench"),
        message: "services/ stand below api/ and activities/.",
      },
      {
        group: ["**/workflows/!(contracts.js)"],
        message: "Of workflows/ only contracts.ts may be imported.",
      },
      config,
      koa,
      temporalClient,
    ),
  },
  {
    files: ["services/import/queues/**/*.ts"],
    rules: forbid(
      {
        group: folders("api", "activities", "dev", "test", "bench"),
        message: "services/ stand below api/ and activities/.",
      },
      {
        group: ["**/workflows/!(contracts.js)"],
        message: "Of workflows/ only contracts.ts may be imported.",
      },
      {
        group: ["@temporalio/*", "!@temporalio/client", "!@temporalio/common"],
        message: "The client is all a queue needs.",
      },
      config,
      koa,
    ),
  },
  {
    files: ["workflows/**/*.ts"],
    rules: forbid(
      {
        group: folders("api", "services", "db", "utils", "activities", "dev", "test", "bench"),
        message: "Workflows are deterministic and see nothing but contracts.",
      },
      { group: nodeBuiltIns, message: "There is no Node inside a workflow." },
      config,
    ),
  },
  {
    files: ["activities/**/*.ts"],
    ignores: ["activities/worker.ts"],
    rules: forbid(
      { group: folders("api", "dev", "test", "bench"), message: "activities/ wrap services/." },
      {
        group: ["**/workflows/!(contracts.js)"],
        message: "Of workflows/ only contracts.ts may be imported.",
      },
      config,
      koa,
    ),
  },
  {
    files: ["api/**/*.ts"],
    ignores: ["api/server.ts"],
    rules: forbid(
      {
        group: folders("activities", "workflows", "dev", "test", "bench"),
        message: "api/ knows services/, db/ types and utils/.",
      },
      { group: ["knex", "ioredis", "bcrypt"], message: "Behind services/ and db/.", allowTypeImports: true },
      temporalClient,
      config,
    ),
  },
  {
    files: ["test/**/*.ts", "bench/**/*.ts"],
    rules: {
      // Answers over HTTP have no type until an expectation has looked at them; see test/support/http.ts.
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-return": "off",
      // Messages of failed expectations say "undefined" when that is what there was.
      "@typescript-eslint/restrict-template-expressions": "off",
      // chai's `expect(x).to.be.true` is an expression.
      "@typescript-eslint/no-unused-expressions": "off",
    },
  },
);
