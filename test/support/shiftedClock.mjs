/** For `--import`: the clock of this process goes CLOCK_AHEAD_MS ahead of that of its machine; timers run as ever. */
const ahead = Number(process.env.CLOCK_AHEAD_MS);
const RealDate = Date;
const realNow = RealDate.now.bind(RealDate);
const now = () => realNow() + ahead;

globalThis.Date = new Proxy(RealDate, {
  apply: () => new RealDate(now()).toString(),
  construct: (target, values, newTarget) =>
    Reflect.construct(target, values.length === 0 ? [now()] : values, newTarget),
});
RealDate.now = now;
const { timeOrigin } = performance;
Object.defineProperty(performance, "timeOrigin", { value: timeOrigin + ahead });
