/**
 * Time zones as activity pages abbreviate them. The page names the zone that was in force when the export was made, also
 * for dates in the other half of the year, and some abbreviations have several meanings: so there is a likely offset, and
 * how far it may be wrong.
 */

/** Minutes east of UTC. */
export interface Offsets {
  readonly likely: number;
  readonly smallest: number;
  readonly largest: number;
}

const HOUR = 60;

/** Winter time and summer time of places that have both, an hour apart. */
const CHANGING: readonly (readonly [winter: readonly string[], summer: readonly string[], offset: number])[] =
  [
    [["WET"], ["WEST", "BST"], 0],
    [["CET", "MEZ"], ["CEST", "MESZ"], 60],
    [["EET", "OEZ"], ["EEST", "OESZ"], 120],
    [["NST"], ["NDT"], -210],
    [["AST"], ["ADT"], -240],
    [["EST"], ["EDT"], -300],
    [["CST"], ["CDT"], -360],
    [["MST"], ["MDT"], -420],
    [["PST"], ["PDT"], -480],
    [["AKST"], ["AKDT"], -540],
    [["ACST"], ["ACDT"], 570],
    [["AEST"], ["AEDT"], 600],
    [["NZST"], ["NZDT"], 720],
  ];
const FIXED: Readonly<Record<string, number>> = {
  UTC: 0,
  WAT: 60,
  CAT: 120,
  SAST: 120,
  EAT: 180,
  MSK: 180,
  TRT: 180,
  PKT: 300,
  WIB: 420,
  WITA: 480,
  WIT: 540,
  HKT: 480,
  SGT: 480,
  AWST: 480,
  JST: 540,
  KST: 540,
  HST: -600,
  BRT: -180,
  ART: -180,
};
const NUMBERED = /^(?:GMT|UTC)([+\-−])(\d{1,2})(?::?(\d{2}))?$/;

const known = new Map<string, Offsets>();
for (const [name, likely] of Object.entries(FIXED))
  known.set(name, { likely, smallest: likely, largest: likely });
for (const [winter, summer, offset] of CHANGING) {
  const range = { smallest: offset, largest: offset + HOUR };
  for (const name of winter) known.set(name, { likely: offset, ...range });
  for (const name of summer) known.set(name, { likely: offset + HOUR, ...range });
}
// British winter time has the name of UTC's neighbour. IST: India, else Israel or an Irish summer.
known.set("GMT", { likely: 0, smallest: 0, largest: HOUR });
known.set("IST", { likely: 330, smallest: HOUR, largest: 330 });
known.set("IDT", { likely: 3 * HOUR, smallest: 2 * HOUR, largest: 3 * HOUR });
// Pages from before 2018 name no zone and are in UTC.
known.set("", { likely: 0, smallest: 0, largest: 0 });

/** What an abbreviation means in pages of one language alone. */
const OF_LANGUAGE: Readonly<Record<string, number>> = { "zh CST": 480 };

/** `zone`: in capitals; empty when there is none. `locale`: of the page, as `Intl` writes it. Null: not known. */
export function offsetsOf(zone: string, locale = ""): Offsets | null {
  const ofLanguage = OF_LANGUAGE[`${locale.slice(0, 2)} ${zone}`];
  if (ofLanguage !== undefined) return { likely: ofLanguage, smallest: ofLanguage, largest: ofLanguage };
  const named = known.get(zone);
  if (named !== undefined) return named;
  const [, sign, hours, minutes = "0"] = NUMBERED.exec(zone) ?? [];
  if (hours === undefined) return null;
  const size = Number(hours) * HOUR + Number(minutes);
  if (size > 14 * HOUR || Number(minutes) > 59) return null;
  const likely = sign === "+" ? size : -size;
  // Only whole hours are ever moved by summer time.
  const slack = Number(minutes) === 0 ? HOUR : 0;
  return { likely, smallest: likely - slack, largest: likely + slack };
}
