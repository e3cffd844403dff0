import { expect } from "chai";
import { youtubeJson } from "../../../../services/import/formats/youtubeJson.js";
import { youtubeKey } from "../../../../services/history/sourceKey.js";
import type { PartContext, Play, Verdict } from "../../../../services/import/types.js";
import { activity, videoId, videoUrl } from "./youtubeSamples.js";

const CONTEXT: PartContext = { name: "x.json", includeIncognito: false, now: Date.UTC(2026, 0, 1) };

/** Verdicts on the records of one file. */
function judgeFile(records: readonly unknown[]): Verdict[] {
  const surveyor = youtubeJson.survey?.begin(CONTEXT.now);
  if (surveyor === undefined) throw new Error("the format has no survey");
  records.forEach((record, position) => surveyor.see(record, position));
  const judge = surveyor.finish();
  return records.map((record, position) => judge(record, CONTEXT, position));
}

const summary = (verdict: Verdict): string =>
  verdict.verdict === "play" ? `${verdict.play.artist} / ${verdict.play.title}` : verdict.reason;
const summaries = (records: readonly unknown[]): string[] => judgeFile(records).map(summary);

function playOf(record: unknown): Play {
  const [verdict] = judgeFile([record]);
  if (verdict?.verdict !== "play") throw new Error(`expected a play, got ${JSON.stringify(verdict)}`);
  return verdict.play;
}

/** As many titles of one language as it takes to learn its wording. */
const inLanguage = (wording: (title: string) => string): unknown[] =>
  [
    "Solar",
    "Heart",
    "Air",
    "Reality",
    "Judas",
    "Angela",
    "Thinking",
    "Aura",
    "Poor",
    "Sad!",
    "Bop",
    "Rover",
  ].map((title, n) =>
    activity({ title: wording(title), url: videoUrl(n), channel: `${title} band - Topic` }),
  );

describe("YouTube history as JSON", () => {
  it("gives the play of a record, with its key, its id and what is known of its time", () => {
    const play = playOf(activity());
    const at = Date.parse("2022-04-25T18:09:04.784Z");
    expect(play).to.deep.equal({
      source: "youtube-json",
      sourceKey: youtubeKey("youtube-json", { openedMs: at, videoId: videoId(0), channel: "", title: "" }),
      playedAt: at,
      endedAt: null,
      startEarliest: at - 2000,
      startLatest: at + 2000,
      precision: "second",
      msPlayed: null,
      durationMs: null,
      counted: true,
      title: "Solar",
      artist: "Sault",
      album: null,
      trackId: { provider: "youtube", id: videoId(0) },
      context: null,
    });
    expect(play.sourceKey.toString("hex")).to.equal("6266e3c083be65723cb35acb6cc22aaf");
  });

  it("knows music by its header, by the channel of an artist and by the address, and skips all other videos", () => {
    const title = "Watched Lady Gaga - Judas";
    expect(
      summaries([
        activity({ title, channel: "Somebody" }),
        activity({ header: "YouTube", title: "Watched Judas", channel: "Lady Gaga - Topic" }),
        activity({ header: "YouTube", title, channel: "Somebody", url: videoUrl(0, "music.youtube.com") }),
        activity({ header: "YouTube", title, channel: "Somebody" }),
        activity({
          header: "YouTube",
          title,
          url: "https://www.youtube.com/shorts/abcdefghijk",
          channel: "A",
        }),
      ]),
    ).to.deep.equal([
      "Lady Gaga / Judas",
      "Lady Gaga / Judas",
      "Lady Gaga / Judas",
      "not_music",
      "not_music",
    ]);
  });

  it("skips advertisements, what was removed, and what was not watched", () => {
    const records = [
      activity({ details: ["From Google Ads"] }),
      activity({ details: ["Aus Google Ads"] }),
      activity({ title: "Watched a video that has been removed", gone: ["url", "channel"] }),
      activity({ title: `Watched ${videoUrl(3)}`, url: videoUrl(3), gone: ["channel"] }),
      activity({ title: "Watched Nobody's", gone: ["channel"] }),
      activity({ title: "Viewed a post", url: "https://www.youtube.com/post/Ugkx" }),
      activity({ title: "Played a game", url: "https://www.youtube.com/playables/Ugkx" }),
      activity({ title: "Searched for solar", url: "https://www.youtube.com/results?search_query=solar" }),
      activity({ title: "Viewed a video", url: videoUrl(4) }),
      activity({ title: "Used Shorts creation tools", gone: ["url", "channel"] }),
      { header: "Maps", title: "Watched x", time: "2022-04-25T18:09:04Z", products: ["Maps"] },
    ];
    expect(summaries(records)).to.deep.equal([
      ...["ad", "ad", "removed", "removed", "removed"],
      ...Array.from({ length: 6 }, () => "not_a_play"),
    ]);
  });

  it("reads titles in any language, from words it knows or from those that a file has in common", () => {
    const wordings: readonly ((title: string) => string)[] = [
      (title) => `Watched\u00a0${title}`,
      (title) => `Vous avez regardé ${title}`,
      (title) => `${title} を視聴しました`,
      (title) => `„${title}“ angesehen`,
      (title) => `Has visto ${title}`,
      (title) => `${title} adlı videoyu izlediniz`,
      (title) => `观看了${title}`,
      (title) => title,
    ];
    for (const wording of wordings)
      expect(summaries(inLanguage(wording)).slice(0, 3), wording("…")).to.deep.equal([
        "Solar band / Solar",
        "Heart band / Heart",
        "Air band / Air",
      ]);
    expect(summaries([activity({ title: "Has visto Solar" })])).to.deep.equal(["unsupported_locale"]);
    const gone = activity({ title: "Ein Video, das entfernt wurde, angesehen", gone: ["url", "channel"] });
    expect(summaries([gone])).to.deep.equal(["removed"]);
  });

  it("takes artist and title from titles of videos, cleaned of what says nothing about the recording", () => {
    const cases: readonly (readonly [string, string, string])[] = [
      [
        "Travis Scott - HIGHEST IN THE ROOM (Official Music Video)",
        "TravisScottVEVO",
        "Travis Scott / HIGHEST IN THE ROOM",
      ],
      ["PVRIS: Waking Up ACOUSTIC [OFFICIAL AUDIO]", "PVRIS", "PVRIS / Waking Up ACOUSTIC"],
      ["Waking Up", "PVRISVEVO", "PVRIS / Waking Up"],
      ["kendrick lamar ~ humble", "rum world", "kendrick lamar / humble"],
      ["Hozier - Take Me To Church [Live at the BBC]", "x", "Hozier / Take Me To Church [Live at the BBC]"],
      ["Lady Gaga - Judas", "Release - Topic", "Lady Gaga / Judas"],
      ["Judas", "Release - Topic", "[unknown] / Judas"],
      ["(Official Video)", "Band", "Band / (Official Video)"],
      ["A - B (Official Video)", "A - Topic", "A / A - B (Official Video)"],
      [`x - ${"(".repeat(2000)}`, "Band", `x / ${"(".repeat(2000)}`],
    ];
    for (const [title, channel, expected] of cases)
      expect(summaries([activity({ title: `Watched ${title}`, channel })])).to.deep.equal([expected]);
  });

  it("refuses records that cannot be plays, each for its own reason", () => {
    expect(
      summaries([
        activity(),
        activity({ time: "25.04.2022" }),
        activity({ time: "1999-04-25T18:09:04Z" }),
        activity({ time: "2027-04-25T18:09:04Z" }),
        activity({ title: "Watched a\0b" }),
        activity({ title: `Watched ${"x".repeat(5000)}` }),
        activity({ channel: "a\0b" }),
        { header: "YouTube Music", time: "2022-04-25T18:09:04Z" },
        "text",
      ]),
    ).to.deep.equal([
      "Sault / Solar",
      "bad_time",
      "time_out_of_range",
      "time_out_of_range",
      "text_nul",
      "too_long",
      "text_nul",
      "missing_field",
      "malformed",
    ]);
  });

  it("recognises YouTube's records by content, and not those of Google's other products", () => {
    const recognises = (firstRecord: unknown): boolean => youtubeJson.recognises({ name: "x", firstRecord });
    expect(recognises(activity())).to.equal(true);
    expect(recognises(activity({ header: "youtube.com" }))).to.equal(true);
    expect(
      recognises({ header: "Maps", title: "Used Maps", time: "2022-04-25T18:09:04Z", products: ["Maps"] }),
    ).to.equal(false);
    expect(recognises({ header: "YouTube" })).to.equal(false);
  });

  it("shows of a record what is not personal", () => {
    const shown = youtubeJson.excerpt({ ...(activity() as object), activityControls: ["x"], email: "a@b.c" });
    expect(shown).to.include("Watched Solar").and.not.include("a@b.c");
  });
});
