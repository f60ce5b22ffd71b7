/** What of a target's state initiators may change, when the administrator lets them. */
export const WIRE_CHANGES = ["config", "mask", "reserve"] as const;
export type WireChange = (typeof WIRE_CHANGES)[number];
