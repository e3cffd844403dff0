/** How the limits of requests are written in settings. */
import { isIP } from "node:net";
import Joi from "joi";

/** At most `max` requests in `seconds`. */
export interface Rate {
  readonly max: number;
  readonly seconds: number;
}

/** Of each limit its setting and its default, as requests/seconds. */
const SETTINGS = {
  reads: ["RATE_READS", "3000/60"],
  writes: ["RATE_WRITES", "1200/60"],
  search: ["RATE_SEARCH", "600/60"],
  uploads: ["RATE_UPLOADS", "60/60"],
  exports: ["RATE_EXPORTS", "20/3600"],
  login: ["RATE_LOGIN", "100/900"],
  loginDevice: ["RATE_LOGIN_DEVICE", "10/900"],
  loginAccount: ["RATE_LOGIN_ACCOUNT", "100/86400"],
  refresh: ["RATE_REFRESH", "600/900"],
} as const;

export type LimitName = keyof typeof SETTINGS;
export type Rates = Readonly<Record<LimitName, Rate>>;

export const rateSchemas: Readonly<Record<string, Joi.StringSchema>> = Object.fromEntries(
  Object.values(SETTINGS).map(([setting, rate]) => [
    setting,
    Joi.string()
      .pattern(/^[1-9]\d{0,8}\/[1-9]\d{0,5}$/, "requests/seconds, like 100/60")
      .default(rate),
  ]),
);

/** @param text gives the value of a setting */
export const ratesOf = (text: (setting: string) => string): Rates =>
  Object.fromEntries(
    Object.entries(SETTINGS).map(([name, [setting]]) => {
      const [max = 0, seconds = 0] = text(setting).split("/").map(Number);
      return [name, { max, seconds }];
    }),
  ) as Rates;

const LOOPBACK = ["127.0.0.0/8", "::1/128"];

const entriesOf = (list: string): string[] => list.split(",").map((entry) => entry.trim());

function isRange(text: string): boolean {
  const [address = "", prefix = "0", ...more] = text.split("/");
  const family = isIP(address);
  return (
    family !== 0 &&
    /^\d{1,3}$/.test(prefix) &&
    Number(prefix) <= (family === 4 ? 32 : 128) &&
    more.length === 0
  );
}

/** Addresses, ranges and the word `loopback`, with commas between them. */
export const proxyList: Joi.StringSchema = Joi.string()
  .custom((list: string, helpers) => {
    if (entriesOf(list).every((entry) => entry === "loopback" || isRange(entry))) return list;
    return helpers.error("string.pattern.name", { name: "address, address/bits or loopback, with commas" });
  })
  .default("");

/** The addresses and CIDR ranges of a valid list. */
export const rangesOf = (list: string): string[] =>
  entriesOf(list).flatMap((entry) => (entry === "loopback" ? LOOPBACK : entry === "" ? [] : [entry]));
