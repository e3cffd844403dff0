import { readdir } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { expect } from "chai";
import { type Model } from "objection";
import type { ModelClass } from "objection";
import { Album } from "../../db/models/Album.js";
import { AlbumTrack } from "../../db/models/AlbumTrack.js";
import { ApiToken } from "../../db/models/ApiToken.js";
import { Artist } from "../../db/models/Artist.js";
import { ExternalId } from "../../db/models/ExternalId.js";
import { IdempotencyKey } from "../../db/models/IdempotencyKey.js";
import { ImportBatch } from "../../db/models/ImportBatch.js";
import { ImportJob } from "../../db/models/ImportJob.js";
import { ImportPart } from "../../db/models/ImportPart.js";
import { ListeningHistory } from "../../db/models/ListeningHistory.js";
import { Session } from "../../db/models/Session.js";
import { Track } from "../../db/models/Track.js";
import { TrackArtist } from "../../db/models/TrackArtist.js";
import { User } from "../../db/models/User.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";

const FOLDER = path.resolve(import.meta.dirname, "../../db/models");
const ANN = "018f0000-0000-7000-8000-000000000001";
const JOB = "018f0000-0000-7000-8000-00000000000a";

async function allModels(): Promise<ModelClass<Model>[]> {
  const files = (await readdir(FOLDER)).filter((file) => !["BaseModel.ts", "enums.ts"].includes(file));
  return Promise.all(
    files.map(async (file) => {
      const exported = (await import(pathToFileURL(path.join(FOLDER, file)).href)) as Record<string, unknown>;
      return exported[path.parse(file).name] as ModelClass<Model>;
    }),
  );
}

describe("db/models", () => {
  let test: TestDatabase;

  before(async () => {
    test = await createTestDatabase();
    const { knex } = test.database;
    await User.query(knex).insert({ id: ANN, email: "ann@example.org", username: "ann", passwordHash: "x" });
  });
  after(() => test.drop());

  it("has one model for every table, named like its file", async () => {
    const tables = (await allModels()).map(({ tableName }) => tableName).sort();
    const { rows } = await test.database.pool.query<{ name: string }>(`
      select relname::text as name from pg_class
       where relnamespace = 'public'::regnamespace and relkind = 'r' and relname not like 'knex%' order by 1`);
    expect(tables).to.deep.equal(rows.map(({ name }) => name));
  });

  it("names the primary key of every table as its id", async () => {
    const { rows } = await test.database.pool.query<{ table: string; columns: string[] }>(`
      select conrelid::regclass::text as table,
             (select array_agg(attname::text order by ord) from unnest(conkey) with ordinality k (num, ord)
                join pg_attribute on attrelid = conrelid and attnum = num) as columns
        from pg_constraint where contype = 'p' and connamespace = 'public'::regnamespace`);
    const camel = (name: string) => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
    const expected = new Map(rows.map(({ table, columns }) => [table, columns.map(camel)]));
    for (const model of await allModels()) {
      expect([model.idColumn].flat(), model.tableName).to.deep.equal(expected.get(model.tableName));
    }
  });

  it("reads every table with every relation", async () => {
    for (const model of await allModels()) {
      const relations = Object.keys(model.getRelations());
      const graph = relations.length === 0 ? {} : Object.fromEntries(relations.map((name) => [name, true]));
      const rows = await model.query(test.database.knex).withGraphFetched(graph);
      expect(rows, model.tableName).to.be.an("array");
    }
  });

  it("keeps users and finds their sessions", async () => {
    const { knex } = test.database;
    const expiresAt = new Date(Date.now() + 60_000);
    const session = { id: JOB, userId: ANN, refreshKey: Buffer.from("secret"), expiresAt };
    await Session.query(knex).insert(session);
    const user = await User.query(knex).findById(ANN).modify("enabled").withGraphFetched("sessions");
    expect(user).to.include({
      email: "ann@example.org",
      role: "user",
      profileVisibility: "private",
      version: 1,
    });
    expect(user?.createdAt).to.be.instanceOf(Date);
    expect(user?.sessions?.map(({ id, refreshKey }) => [id, refreshKey.toString()])).to.deep.equal([
      [JOB, "secret"],
    ]);
    expect(await Session.query(knex).modify("live", new Date())).to.have.lengthOf(1);
    expect(await Session.query(knex).modify("live", new Date(Date.now() + 61_000))).to.be.empty;
  });

  it("keeps a catalogue with credits, places on albums and strong ids", async () => {
    const { knex } = test.database;
    const artist = await Artist.query(knex).insertAndFetch({ name: "Ärtist", nameKey: "ärtist" });
    const guest = await Artist.query(knex).insertAndFetch({ name: "Guest", nameKey: "guest" });
    const album = await Album.query(knex).insertAndFetch({
      ...{ artistId: artist.id, title: "Album", titleKey: "album", releaseDate: "1999-12" },
    });
    const track = await Track.query(knex).insertAndFetch({
      ...{
        artistId: artist.id,
        title: "Song",
        titleKey: "song",
        looseKey: "ärtist song",
        durationMs: 180_000,
      },
    });
    await AlbumTrack.query(knex).insert({ albumId: album.id, trackId: track.id, disc: 1, position: 7 });
    await TrackArtist.query(knex).insert({
      trackId: track.id,
      artistId: artist.id,
      position: 0,
      role: "main",
    });
    await TrackArtist.query(knex).insert({
      trackId: track.id,
      artistId: guest.id,
      position: 1,
      role: "featured",
    });
    await ExternalId.query(knex).insert([
      { entity: "track", provider: "spotify", externalId: "abc", entityId: track.id },
      { entity: "album", provider: "spotify", externalId: "def", entityId: track.id },
    ]);

    const found = await Track.query(knex)
      .findById(track.id)
      .withGraphFetched({ artist: true, credits: true, albums: true, externalIds: true });
    expect(found?.artist?.name).to.equal("Ärtist");
    expect(found?.credits?.map(({ name, role, position }) => [position, name, role])).to.have.deep.members([
      [0, "Ärtist", "main"],
      [1, "Guest", "featured"],
    ]);
    expect(
      found?.albums?.map(({ title, disc, position, releaseDate }) => [title, disc, position, releaseDate]),
    ).to.deep.equal([["Album", 1, 7, "1999-12"]]);
    expect(found?.externalIds?.map(({ externalId }) => externalId)).to.deep.equal(["abc"]);
    const discography = await Artist.query(knex)
      .findById(artist.id)
      .withGraphFetched("[albums.tracks, tracks]");
    expect(discography?.albums?.[0]?.tracks?.map(({ title, position }) => [title, position])).to.deep.equal([
      ["Song", 7],
    ]);
  });

  it("keeps plays as they are and selects what counts", async () => {
    const { knex } = test.database;
    const artist = await Artist.query(knex).insertAndFetch({ name: "P", nameKey: "p" });
    const track = await Track.query(knex).insertAndFetch({
      ...{ artistId: artist.id, title: "Q", titleKey: "q", looseKey: "p q" },
    });
    const at = (day: number) => new Date(Date.UTC(2024, 0, day, 1, 2, 3));
    const insert = (day: number, over: Partial<ListeningHistory> = {}) =>
      ListeningHistory.query(knex).insertAndFetch({
        ...{ userId: ANN, trackId: track.id, artistId: artist.id, playedAt: at(day), startEarliest: at(day) },
        ...{ startLatest: at(day), precision: "second", source: "manual", counted: true },
        sourceKey: Buffer.alloc(16, day),
        ...over,
      });
    const context = { platform: 'it\'s "x"\\', shuffle: true };
    const first = await insert(1, { context, msPlayed: 1234 });
    expect(first.context).to.deep.equal(context);
    expect(first.sourceKey).to.deep.equal(Buffer.alloc(16, 1));
    expect(first.playedAt).to.deep.equal(at(1));
    expect(first.id).to.be.a("number");
    await insert(2, { counted: false });
    await insert(3, { duplicateOf: first.id });
    const last = await insert(4);

    const select = (...modifiers: [string, ...unknown[]][]) => {
      const query = ListeningHistory.query(knex).orderBy("id");
      for (const [name, ...args] of modifiers) void query.modify(name, ...args);
      return query.then((plays) => plays.map(({ id }) => id));
    };
    expect(await select(["ofUser", ANN], ["countedOnce"])).to.deep.equal([first.id, last.id]);
    expect(await select(["during", at(1), at(4)]))
      .to.have.lengthOf(3)
      .and.not.include(last.id);
    expect(await select(["ofUser", JOB])).to.deep.equal([]);
    const full = await ListeningHistory.query(knex)
      .findById(first.id)
      .withGraphFetched("[user, track, artist, album]");
    expect([full?.user?.username, full?.track?.title, full?.artist?.name, full?.album]).to.deep.equal([
      "ann",
      "Q",
      "P",
      null,
    ]);
  });

  it("keeps imports with their parts and ledgers", async () => {
    const { knex } = test.database;
    await ImportJob.query(knex).insert({
      ...{
        id: JOB,
        userId: ANN,
        kind: "file",
        sizeBytes: 5_000_000_000,
        sha256: Buffer.alloc(32),
        batchRows: 10,
      },
      ...{
        optionsHash: Buffer.alloc(1),
        workflowId: "import-1",
        options: { includeIncognito: true },
        sources: ["koito"],
      },
    });
    await ImportPart.query(knex).insert({ jobId: JOB, partNo: 0, name: "a.json" });
    await ImportBatch.query(knex).insert({
      ...{
        jobId: JOB,
        partNo: 0,
        batchNo: 0,
        firstPosition: 0,
        read: 3,
        inserted: 1,
        duplicate: 1,
        skipped: 1,
        rejected: 0,
      },
      ...{
        reasons: { skipped: { podcast: 1 } },
        claimedIds: [7, 0],
        claimedPositions: [0, 2],
        claimedReasons: [0, 3],
      },
      ...{ skippedPositions: [1], skippedReasons: [1] },
    });
    const job = await ImportJob.query(knex)
      .modify("ofUser", ANN)
      .modify("open")
      .first()
      .withGraphFetched("parts");
    expect(job).to.deep.include({
      sizeBytes: 5_000_000_000,
      options: { includeIncognito: true },
      sources: ["koito"],
    });
    expect(job?.parts?.map(({ name, read, status }) => [name, read, status])).to.deep.equal([
      ["a.json", 0, "queued"],
    ]);
    const batch = await ImportBatch.query(knex).findById([JOB, 0, 0]);
    expect(batch).to.deep.include({
      claimedIds: [7, 0],
      skippedReasons: [1],
      reasons: { skipped: { podcast: 1 } },
    });
    await ImportJob.query(knex).findById(JOB).patch({ status: "completed" });
    expect(await ImportJob.query(knex).modify("open")).to.be.empty;
  });

  it("keeps tokens and given answers", async () => {
    const { knex } = test.database;
    await ApiToken.query(knex).insert({
      id: JOB,
      userId: ANN,
      name: "n",
      tokenHash: Buffer.alloc(32),
      scopes: ["read"],
    });
    expect((await ApiToken.query(knex).modify("live", new Date()))[0]?.scopes).to.deep.equal(["read"]);
    await ApiToken.query(knex)
      .findById(JOB)
      .patch({ expiresAt: new Date(0) });
    expect(await ApiToken.query(knex).modify("live", new Date())).to.be.empty;

    const responseBody = { zebra: 1, a: [1, 2] };
    await IdempotencyKey.query(knex).insert({
      userId: ANN,
      key: "k",
      requestHash: Buffer.alloc(1),
      responseBody,
    });
    const kept = await IdempotencyKey.query(knex).findById([ANN, "k"]);
    expect(JSON.stringify(kept?.responseBody)).to.equal(JSON.stringify(responseBody));
  });

  it("asks for one row when it wants the first", () => {
    expect(Artist.query(test.database.knex).first().toKnexQuery().toSQL().sql).to.match(/limit \?$/);
  });
});
