import { expect } from "chai";
import { EXPORTED_PLAYS, exportedTables, LEFT_OUT } from "../../services/users/export/tables.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { insertEverything, SECRETS, tablesOfUsers } from "../support/everything.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { insertPlays } from "../support/plays.js";
import { unzip, type UnzippedFile } from "../support/unzip.js";

const ADDRESS = "/api/v1/users/me/export";

type Json = Record<string, unknown>;

describe("GET /users/me/export", () => {
  let app: TestApp;
  let me: TestUser;
  let files: Map<string, UnzippedFile>;
  let answer: Response;

  const download = (user: TestUser, method = "GET") =>
    fetch(`${app.url}${ADDRESS}`, { method, headers: { authorization: `Bearer ${user.accessToken}` } });
  const textOf = (name: string): string => files.get(name)?.text ?? "";
  const linesOf = (name: string): Json[] =>
    textOf(name)
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Json);

  before(async () => {
    app = await startTestApp();
    me = await buildUser(app, { displayName: "Ada" });
    const other = await buildUser(app);
    const { pool } = app.deps.database;
    for (const { id } of [me, other]) await insertEverything(pool, id);
    const [first] = await insertPlays(pool, me.id, [
      {
        playedAt: "2024-05-01T12:00:00.123Z",
        artist: '=HYPERLINK("http://x")',
        track: 'Düne, "der"\nLied',
        album: "+1",
        context: { platform: "linux" },
      },
      { playedAt: "2019-05-01T12:00:00Z", artist: "@x", track: "-1", msPlayed: null, counted: false },
    ]);
    await insertPlays(pool, me.id, [
      { playedAt: "2024-05-01T12:00:01Z", source: "spotify-account", duplicateOf: first! },
    ]);
    await insertPlays(pool, other.id, [
      { playedAt: "2024-05-02T00:00:00Z", artist: "Somebody else's artist" },
    ]);
    answer = await download(me);
    files = await unzip(Buffer.from(await answer.arrayBuffer()));
  });
  after(() => app.close());

  it("answers with an archive under a name of its own", () => {
    expect(answer.status).to.equal(200);
    expect(answer.headers.get("content-type")).to.equal("application/zip");
    expect(answer.headers.get("content-disposition")).to.match(
      new RegExp(`^attachment; filename="playlog-${me.username}-\\d{4}-\\d\\d-\\d\\d\\.zip"$`),
    );
    expect(answer.headers.get("cache-control")).to.equal("no-store");
    expect([...files.keys()]).to.have.members([
      ...[
        "README.txt",
        "profile.json",
        "listening-history.jsonl",
        "listening-history.csv",
        "deleted-plays.jsonl",
      ],
      ...[
        "unlinked-plays.jsonl",
        "imports.jsonl",
        "import-files.jsonl",
        "import-rows.jsonl",
        "sessions.jsonl",
      ],
      ...["tokens.jsonl", "connections.jsonl", "idempotency-keys.jsonl", "manifest.json"],
    ]);
    for (const name of files.keys())
      if (!/README|manifest/.test(name)) expect(textOf("README.txt")).to.include(name);
  });

  it("has the account as its owner sees it", async () => {
    const profile = JSON.parse(textOf("profile.json")) as Json;
    expect(profile).to.deep.equal((await app.as(me).get("/api/v1/users/me")).body);
  });

  it("has every play, oldest first, with what it is recognised by", async () => {
    const plays = linesOf("listening-history.jsonl");
    const { rows } = await app.deps.database.pool.query<{ id: number; source: string; key: string }>(
      `select id, source, encode(source_key, 'hex') as key from listening_history
        where user_id = $1 order by played_at`,
      [me.id],
    );
    expect(plays.map(({ id, source, sourceKey }) => ({ id, source, key: sourceKey }))).to.deep.equal(rows);
    expect(plays[1]).to.deep.include({
      ...{ playedAt: "2024-05-01T12:00:00.123Z", msPlayed: 180_000, precision: "second", counted: true },
      ...{ context: { platform: "linux" }, duplicateOf: null, duplicateOfKey: null },
    });
    expect(plays[1]).to.have.nested.include({
      "track.title": 'Düne, "der"\nLied',
      "artist.name": '=HYPERLINK("http://x")',
      "album.title": "+1",
    });
    expect(plays[2]).to.include({ duplicateOf: rows[1]!.id, duplicateOfKey: rows[1]!.key });
    expect(plays[0]).to.include({ msPlayed: null, album: null, counted: false });
  });

  it("has them as CSV that no spreadsheet takes for formulas", () => {
    const csv = textOf("listening-history.csv");
    expect(csv.split("\r\n")[0]).to.equal(
      "playedAt,msPlayed,durationMs,artist,track,album,isrc,source,precision,counted,sourceKey,duplicateOfKey",
    );
    expect(csv).to.include(`2019-05-01T12:00:00.000Z,,,'@x,'-1,,,spotify-extended,second,false,`);
    expect(csv).to.include(`,"'=HYPERLINK(""http://x"")","Düne, ""der""\nLied",'+1,,spotify-extended,`);
  });

  it("has a row of mine in every file, and nothing of anybody else", () => {
    for (const [name] of files)
      if (name.endsWith(".jsonl")) expect(linesOf(name), name).to.not.have.length(0);
    for (const name of ["imports.jsonl", "tokens.jsonl", "connections.jsonl", "import-rows.jsonl"])
      expect(linesOf(name), name).to.have.length(1);
    const all = [...files.values()].map(({ text }) => text).join("\n");
    expect(all).to.not.include("Somebody else");
    expect(linesOf("import-rows.jsonl")[0]).to.include({ verdict: "rejected", reason: "bad_time" });
    expect(linesOf("imports.jsonl")[0]).to.include({ filename: "my data.zip", status: "completed" });
    expect(linesOf("deleted-plays.jsonl")[0]).to.include({ source: "manual" });
  });

  it("has no secret, in whatever spelling", async () => {
    const { rows } = await app.deps.database.pool.query<{ password_hash: string; key: Buffer }>(
      "select u.password_hash, s.refresh_key as key from users u join sessions s on s.user_id = u.id where u.id = $1",
      [me.id],
    );
    const secrets = [...SECRETS.map((text) => Buffer.from(text)), ...rows.map(({ key }) => key)];
    const spellings = secrets.flatMap((secret) => [
      secret.toString("latin1"),
      secret.toString("hex"),
      secret.toString("base64"),
      secret.toString("base64url"),
    ]);
    const all = [...files.values()].map(({ text }) => text).join("\n");
    for (const spelling of [...spellings, rows[0]!.password_hash])
      expect(all.includes(spelling), spelling).to.equal(false);
  });

  it("says how many rows each file has, and whether anything was written meanwhile", () => {
    const manifest = JSON.parse(textOf("manifest.json")) as {
      changedMeanwhile: boolean;
      rows: Record<string, number>;
    };
    expect(manifest.changedMeanwhile).to.equal(false);
    for (const [name, count] of Object.entries(manifest.rows))
      if (name.endsWith(".jsonl")) expect(linesOf(name), name).to.have.length(count);
    expect(manifest.rows["listening-history.csv"]).to.equal(3);
  });

  it("leaves out no table that has rows of users, and no column of one", async () => {
    const { pool } = app.deps.database;
    const tables = exportedTables();
    const known = [...tables.map(({ table }) => table), EXPORTED_PLAYS, ...Object.keys(LEFT_OUT)];
    expect(known).to.include.members(await tablesOfUsers(pool));
    for (const { table, columns, withheld } of tables) {
      const { rows } = await pool.query<{ name: string }>(
        "select column_name::text as name from information_schema.columns where table_schema = 'public' and table_name = $1",
        [table],
      );
      expect([...columns, ...withheld], table).to.have.members(rows.map(({ name }) => name));
    }
  });

  it("answers HEAD without making anything, and frees the place", async () => {
    for (let n = 0; n < 5; n += 1) {
      const head = await download(me, "HEAD");
      expect(head.status).to.equal(200);
      expect(head.headers.get("content-type")).to.equal("application/zip");
    }
    expect((await (await download(me)).arrayBuffer()).byteLength).to.be.above(500);
  });

  it("is the owner's alone, and empty of plays for somebody without", async () => {
    expectStatus(401, await app.anonymous.get(ADDRESS));
    const nobody = await buildUser(app);
    const theirs = await unzip(Buffer.from(await (await download(nobody)).arrayBuffer()));
    expect(theirs.get("listening-history.jsonl")?.text).to.equal("");
    expect(theirs.get("sessions.jsonl")?.text.split("\n")).to.have.length(2);
  });
});
