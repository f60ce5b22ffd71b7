/** Why a frame was not answered. Every frame that is received is answered or counted here. */
const dropReasons = [
  /** Shorter than the header, or than the arguments of its command. */
  "short",
  "not_aoe",
  /** Somebody's answer or announcement. */
  "response",
  /** The source is a group address or zero. */
  "bad_source",
  /** For another station, or multicast. */
  "not_for_us",
  /** No target has this address. */
  "no_target",
  /** Another worker of this server answers, or counts it. */
  "other_worker",
  /** The sender is not on the target's `allow` or mask list. */
  "not_admitted",
  /** A config query asked whether the string matches, and it does not. */
  "config_mismatch",
  /** A wildcard request needed more frames than the arena had left. */
  "no_frame",
  /** It had waited so long that its sender must have sent it again. */
  "stale",
  /** Its target is being changed; the sender asks again. */
  "suspended",
  /** Its sender had more frames waiting than an initiator may have outstanding. */
  "over_share",
  /** Its target had as many commands under way as it may. */
  "overloaded",
] as const;

export type DropReason = (typeof dropReasons)[number];

/** Counts by reason; indexing by a constant string compiles to a field. */
export type DropCounts = Record<DropReason, number>;

export function noDrops(): DropCounts {
  return Object.fromEntries(dropReasons.map((reason) => [reason, 0])) as DropCounts;
}
