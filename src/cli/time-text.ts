/** For people, in one or two units: 224 → "3 min 44 s". */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const hours = Math.floor(whole / 3600);
  if (hours < 48) return `${hours} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago a moment was: "now", "3 min 44 s ago". @param time in the form of ISO 8601 */
export function ageText(time: string, nowMs: number = Date.now()): string {
  const seconds = Math.floor((nowMs - Date.parse(time)) / 1000);
  return seconds < 1 ? "now" : `${durationText(seconds)} ago`;
}
