import { expect } from "chai";
import fc from "fast-check";
import type { PlaySource } from "../../../../services/import/types.js";
import {
  LEADER_ORDER,
  linkSightings,
  matches,
  overrideOf,
  playsOf,
  type Sighting,
} from "../../../../services/history/linking/rules.js";
import { PLAY_SOURCES } from "../../../../db/models/enums.js";

const NOON = Date.UTC(2024, 4, 1, 12);
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let lastId = 0;
/** Times in milliseconds after noon; the key follows from source and start, as in earnest. */
function sighting(
  source: PlaySource,
  at: number,
  over: Partial<Sighting> & { slack?: number } = {},
): Sighting {
  const { slack = 2000, ...rest } = over;
  const second = Math.floor((NOON + at) / 1000).toString(16);
  const hash = `${LEADER_ORDER.indexOf(source)}${String(at).replace("-", "f")}`.padEnd(24, "0").slice(0, 24);
  return {
    id: (lastId += 1),
    source,
    key: second + hash,
    playedAt: NOON + at,
    startEarliest: NOON + at - slack,
    startLatest: NOON + at + slack,
    endedAt: null,
    ...rest,
  };
}

/** A row of Spotify's account data: the minute of the end, cut, and what was heard. */
function account(endMs: number, msPlayed: number): Sighting {
  const end = Math.floor((NOON + endMs) / MINUTE) * MINUTE;
  const start = end - msPlayed;
  return sighting("spotify-account", start - NOON, {
    startEarliest: start - 10 * MINUTE,
    startLatest: start + MINUTE,
    endedAt: end,
  });
}

const extended = (at: number, msPlayed: number, pausedMs = 0): Sighting =>
  sighting("spotify-extended", at, { endedAt: NOON + at + msPlayed + pausedMs });

/** The plays as lists of keys: which ids the rows were given is no part of the result. */
const asKeys = (sightings: readonly Sighting[], overrides?: ReadonlySet<string>): string[][] =>
  playsOf(sightings, overrides).map(([leader, ...others]) => [
    leader.key,
    ...others.map(({ key }) => key).sort(),
  ]);

const leadersOf = (sightings: readonly Sighting[], overrides?: ReadonlySet<string>): (number | null)[] => {
  const leaders = linkSightings(sightings, overrides);
  return sightings.map(({ id }) => leaders.get(id)!);
};

describe("linking sightings", () => {
  it("knows every family of sources", () => {
    expect([...LEADER_ORDER].sort()).to.deep.equal([...PLAY_SOURCES].sort());
  });

  it("takes the same play in two sources for one, and the richer row leads", () => {
    const scrobble = sighting("lastfm", 3000, { slack: 5000 });
    const stream = extended(0, 200_000);
    expect(leadersOf([scrobble, stream])).to.deep.equal([stream.id, null]);
  });

  it("keeps two plays of one family two, however near they are", () => {
    const [one, two] = [extended(0, 1000), extended(1, 1000)];
    expect(leadersOf([one, two])).to.deep.equal([null, null]);
    const scrobble = sighting("lastfm", 0, { slack: 5000 });
    expect(leadersOf([one, two, scrobble])).to.deep.equal([null, null, one.id]);
  });

  it("pairs plays on repeat in the order of time, also where account data is cut to the minute", () => {
    const streams = Array.from({ length: 30 }, (_, n) => extended(n * 61_500, 60_000));
    const rows = streams.map((_, n) => account(n * 61_500 + 60_000, 60_000));
    expect(leadersOf([...rows.toReversed(), ...streams]).slice(0, 30)).to.deep.equal(
      streams.map(({ id }) => id).reverse(),
    );
  });

  it("finds the partner when others are missing from one side", () => {
    const streams = [0, 4, 8, 12].map((minute) => extended(minute * MINUTE, 3 * MINUTE));
    const rows = [account(11 * MINUTE, 3 * MINUTE)];
    expect(leadersOf([...rows, ...streams])[0]).to.equal(streams[2]!.id);
  });

  it("compares ends too, for a pause moves the start that is reckoned from an end", () => {
    const stream = extended(0, 200_000, 30 * MINUTE);
    const row = account(200_000 + 30 * MINUTE, 200_000);
    expect(row.startEarliest).to.be.greaterThan(stream.startLatest);
    expect(leadersOf([stream, row])).to.deep.equal([null, stream.id]);
  });

  it("pairs a play that was paused while another one was heard", () => {
    const paused = extended(0, 200_000, 2 * HOUR);
    const other = extended(HOUR, 200_000);
    const rows = [account(200_000 + 2 * HOUR, 200_000), account(HOUR + 200_000, 200_000)];
    expect(leadersOf([...rows, paused, other])).to.deep.equal([paused.id, other.id, null, null]);
  });

  it("pairs days of plays with the plays of those days, and leaves over what is more", () => {
    const day = (n: number): Sighting =>
      sighting("apple-daily", n, { startEarliest: NOON - 26 * HOUR, startLatest: NOON + 24 * HOUR });
    const plays = [-3 * HOUR, 5 * HOUR].map((at) => sighting("apple-export", at));
    const days = [day(0), day(1), day(2)];
    const links = leadersOf([...plays, ...days]);
    expect(links.slice(2).filter((leader) => leader === null)).to.have.length(1);
    expect(new Set(links.slice(2)))
      .to.include(plays[0]!.id)
      .and.include(plays[1]!.id);
  });

  it("joins what two others have in common, and respects what its owner says", () => {
    const stream = extended(0, 200_000);
    const minute = sighting("lastfm-minute", 0, { startEarliest: NOON, startLatest: NOON + 59_999 });
    const late = sighting("listenbrainz", 40_000, { slack: 5000 });
    expect(matches(stream, late)).to.equal(false);
    // Poorer sightings join plays; they do not make one of two.
    expect(leadersOf([late, minute, stream])).to.deep.equal([null, stream.id, null]);
    const apart = new Set([overrideOf(minute.key, stream.key)]);
    expect(leadersOf([late, minute, stream], apart)).to.deep.equal([null, late.id, null]);
  });

  it("does not compare everything with everything when very many are at one moment", () => {
    const streams = Array.from({ length: 1000 }, (_, n) => extended(n, 1000));
    const scrobbles = streams.map((_, n) => sighting("lastfm", n));
    const leaders = linkSightings([...scrobbles, ...streams]);
    expect([...leaders.values()].filter((leader) => leader === null)).to.have.length(1000);
  });

  describe("for any sightings", () => {
    /** Few moments and ranges, so that they meet and tie often. */
    const some = fc
      .uniqueArray(
        fc.record({
          source: fc.constantFrom(...LEADER_ORDER.slice(0, 14)),
          at: fc.integer({ min: 0, max: 40 }).map((n) => n * 1500),
          before: fc.constantFrom(2000, 5000, 60_000),
          after: fc.constantFrom(2000, 5000, 30_000),
          length: fc.constantFrom(null, 30_000, 90_000),
        }),
        { selector: ({ source, at }) => `${source} ${at}`, maxLength: 24 },
      )
      .map((specs) =>
        specs.map(({ source, at, before, after, length }) =>
          sighting(source, at, {
            startEarliest: NOON + at - before,
            startLatest: NOON + at + after,
            endedAt: length === null ? null : NOON + at + length,
          }),
        ),
      );
    /** With pairs that their owner told apart. */
    const told = some.chain((sightings) =>
      fc
        .array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 5 })
        .map((pairs): [Sighting[], Set<string>] => [
          sightings,
          new Set(
            sightings.length === 0
              ? []
              : pairs.map(([a, b]) =>
                  overrideOf(sightings[a % sightings.length]!.key, sightings[b % sightings.length]!.key),
                ),
          ),
        ]),
    );

    it("links them in the same way in whatever order they came and whatever their ids are", () => {
      fc.assert(
        fc.property(told, fc.infiniteStream(fc.double({ noNaN: true })), ([sightings, overrides], dice) => {
          const shuffled = sightings
            .map((each) => ({ each: { ...each, id: (lastId += 1) }, by: dice.next().value as number }))
            .sort((a, b) => a.by - b.by)
            .map(({ each }) => each);
          expect(asKeys(shuffled, overrides)).to.deep.equal(asKeys(sightings, overrides));
        }),
      );
    });

    it("links each with a leader that leads, one of a family at most, richer first, and only what matches", () => {
      fc.assert(
        fc.property(told, ([sightings, overrides]) => {
          const plays = playsOf(sightings, overrides);
          expect(
            plays
              .flat()
              .map(({ id }) => id)
              .sort(),
          ).to.deep.equal(sightings.map(({ id }) => id).sort());
          for (const play of plays) {
            const ranks = play.map(({ source }) => LEADER_ORDER.indexOf(source as never));
            expect(ranks).to.deep.equal([...new Set(ranks)].sort((a, b) => a - b));
            for (const [n, each] of play.entries()) {
              const before = play.slice(0, n);
              if (n > 0)
                expect(before.some((other) => matches(each, other) && matches(other, each))).to.equal(true);
              for (const other of before)
                expect(overrides.has(overrideOf(each.key, other.key))).to.equal(false);
            }
          }
        }),
      );
    });

    it("takes as many plays for one as can be when two sources saw all of them", () => {
      fc.assert(
        fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 500 }), { maxLength: 30 }), (seconds) => {
          const streams = seconds.map((at) => extended(at * 1000, 30_000));
          const scrobbles = seconds.map((at) => sighting("lastfm", at * 1000 + 1500, { slack: 5000 }));
          const linked = new Set(leadersOf([...scrobbles, ...streams]).slice(0, seconds.length));
          expect(linked).to.deep.equal(new Set(streams.map(({ id }) => id)));
        }),
      );
    });

    it("links the others in the same way when one that was linked with nothing is taken away", () => {
      fc.assert(
        fc.property(told, fc.nat(), ([sightings, overrides], n) => {
          const plays = playsOf(sightings, overrides);
          const alone = plays.filter((play) => play.length === 1);
          if (alone.length === 0) return;
          const [gone] = alone[n % alone.length]!;
          const left = sightings.filter((each) => each !== gone);
          expect(asKeys(left, overrides)).to.deep.equal(
            asKeys(sightings, overrides).filter(([leader]) => leader !== gone.key),
          );
        }),
      );
    });
  });
});
