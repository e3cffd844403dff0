/**
 * Loaded in front of a child's own code (`--import`): when the parent is gone, whatever the way, the child may
 * finish what it is doing and is then ended. Without this a killed parent could leave it running for ever.
 */
const GRACE_MS = Number(process.env.PLAYLOG_ORPHAN_GRACE_MS ?? 10_000);

if (process.channel) {
  process.on("disconnect", () => setTimeout(() => process.exit(1), GRACE_MS).unref());
  // A listener keeps the channel, and with it the process, alive; this one must not.
  process.channel.unref();
}
