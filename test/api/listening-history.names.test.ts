import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { insertPlays } from "../support/plays.js";
import { buildCast, type Cast } from "./catalogueSupport.js";

const PATH = "/api/v1/listening-history";

describe("filters of a history, after the catalogue was put right", () => {
  let app: TestApp;
  let cast: Cast;
  /** Of `Ann - One`, `Ann - Two`, `Bob - One` and `Cid - Three`, in this order. */
  let plays: readonly number[];
  const ids: Record<"artist" | "track" | "album", Record<string, number>> = {
    artist: {},
    track: {},
    album: {},
  };

  before(async () => {
    app = await startTestApp();
    cast = await buildCast(app);
    const names = [
      ["Ann", "One", "Red"],
      ["Ann", "Two", "Blue"],
      ["Bob", "One", "Red"],
      ["Cid", "Three", "Grey"],
    ] as const;
    plays = await insertPlays(
      app.deps.database.pool,
      cast.userId,
      names.map(([artist, track, album], n) => ({
        ...{ artist, track, album },
        playedAt: `2024-05-0${n + 1}T10:00:00Z`,
      })),
    );
    for (const play of (await cast.user.get(PATH)).body.data) {
      const owner = play.artist.name as string;
      ids.artist[owner] = play.artist.id;
      ids.track[`${owner} ${play.track.title}`] = play.track.id;
      ids.album[`${owner} ${play.album.title}`] = play.album.id;
    }
  });
  after(() => app.close());

  /** Places in `plays` of what a filter finds; asked with the same words each time, so also from the cache. */
  const found = async (query: string): Promise<number[]> => {
    const { data, total } = expectStatus(200, await cast.user.get(`${PATH}?${query}&includeTotal=true`)).body;
    expect(total, query).to.equal(data.length);
    return (data as readonly { readonly id: number }[]).map(({ id }) => plays.indexOf(id)).sort();
  };
  const merge = async (kind: "artist" | "track" | "album", from: string, into: string) =>
    expectStatus(
      200,
      await cast.editor.post(`/api/v1/${kind}s/${ids[kind][from]!}/merge`, { into: ids[kind][into]! }),
    );
  const expectFound = async (expected: Readonly<Record<string, readonly number[]>>): Promise<void> => {
    for (const [query, places] of Object.entries(expected)) {
      expect(await found(query), query).to.deep.equal(places);
    }
  };

  it("find by former names what has another name now, and by the present ones as well", async () => {
    await expectFound({ "artist=ann": [0, 1], "track=one": [0, 2], "artist=cid&track=three": [3] });
    const cid = `/api/v1/artists/${ids.artist.Cid!}`;
    expectStatus(200, await cast.editor.patch(cid, { name: "Cyd" }));
    const three = `/api/v1/tracks/${ids.track["Cid Three"]!}`;
    expectStatus(200, await cast.editor.patch(three, { title: "Drei" }));
    await expectFound({
      ...{ "artist=cid": [3], "artist=CYD": [3], "track=three": [3], "track=drei": [3] },
      ...{ "artist=cid&track=three": [3], "artist=cyd&track=drei": [3], "artist=ann&track=three": [] },
    });
    // A title that others have still is a former one of some only.
    const one = `/api/v1/tracks/${ids.track["Bob One"]!}`;
    expectStatus(200, await cast.editor.patch(one, { title: "One (live)" }));
    await expectFound({ "track=one": [0, 2], "artist=bob&track=one": [2], "track=one (live)": [2] });
  });

  it("take a merged id for the one that stays, alone and beside other filters", async () => {
    await merge("album", "Ann Blue", "Ann Red");
    await merge("track", "Ann Two", "Ann One");
    const [red, blue] = [ids.album["Ann Red"]!, ids.album["Ann Blue"]!];
    const [one, two] = [ids.track["Ann One"]!, ids.track["Ann Two"]!];
    await expectFound({
      [`albumId=${red}`]: [0, 1],
      [`albumId=${blue}`]: [0, 1],
      [`albumId=${blue}&track=two`]: [0, 1],
      [`trackId=${one}`]: [0, 1],
      [`trackId=${two}`]: [0, 1],
      [`trackId=${two}&albumId=${blue}&artist=ann&track=one`]: [0, 1],
      "track=two": [0, 1],
    });
    const [ann, bob] = [ids.artist.Ann!, ids.artist.Bob!];
    await expectFound({ [`artistId=${ann}`]: [0, 1], [`artistId=${bob}`]: [2] });
    await merge("artist", "Ann", "Bob");
    await expectFound({
      ...{ [`artistId=${ann}`]: [0, 1, 2], [`artistId=${bob}`]: [0, 1, 2], "artist=ann": [0, 1, 2] },
      ...{ [`artistId=${ann}&trackId=${two}`]: [0, 1], "artist=ann&track=two": [0, 1] },
      // Of Ann's and of Bob's track of this name, the one that has it still keeps it.
      ...{ "artist=bob&track=one": [0, 1], "track=one (live)": [2] },
    });
  });

  it("find by the old artist and title what an import with these would be filed under", async () => {
    await merge("track", "Ann One", "Cid Three");
    await expectFound({
      "artist=ann&track=one": [0, 1, 3],
      "artist=cyd&track=drei": [0, 1, 3],
      "artist=cyd&track=one": [],
      [`artistId=${ids.artist.Ann!}`]: [2],
      [`trackId=${ids.track["Ann Two"]!}`]: [0, 1, 3],
    });
  });

  it("find nothing by what never was", async () => {
    await expectFound({ "artist=nobody": [], "track=nothing": [], "artist=nobody&track=one": [] });
    await expectFound({ "artistId=999999": [], "trackId=999999": [], "albumId=999999": [] });
  });
});
