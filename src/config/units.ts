/**
 * Sizes and durations as people write them. Each parser returns undefined for text
 * that is not one; the caller knows the place and says so.
 */

const SIZE_UNITS: Record<string, number> = {
  "": 1,
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
  KB: 1000,
  MB: 1000 ** 2,
  GB: 1000 ** 3,
  TB: 1000 ** 4,
};

const sizeUnitByLowerCase = new Map(
  Object.entries(SIZE_UNITS).map(([unit, bytes]) => [unit.toLowerCase(), bytes]),
);

/** "16MiB", "1.5 GB", "4096": whole octets, at most 2^53 − 1. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,16})(?:\.(\d{1,12}))?\s*([a-zA-Z]*)$/.exec(text.trim());
  if (match === null) return undefined;
  const [, whole = "", fraction = "", unit = ""] = match;
  const unitBytes = sizeUnitByLowerCase.get(unit.toLowerCase());
  if (unitBytes === undefined) return undefined;
  // Exact, so that "1.5GiB" is not off by one octet.
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * BigInt(unitBytes);
  if (scaled % scale !== 0n) return undefined;
  const bytes = Number(scaled / scale);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** The shortest text that `parseSize` reads back as the same number: 16777216 → "16MiB". */
export function formatSize(bytes: number): string {
  for (const unit of ["TiB", "GiB", "MiB", "KiB"]) {
    const unitBytes = SIZE_UNITS[unit];
    if (bytes >= unitBytes && bytes % unitBytes === 0) return `${bytes / unitBytes}${unit}`;
  }
  return String(bytes);
}

const DURATION_UNITS_MS: [string, number][] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
  ["us", 0.001],
];

/** "1h", "1.5s", "50us": milliseconds. A bare number is refused: it has no unit. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)\s*([a-zµ]+)$/.exec(text.trim());
  if (match === null) return undefined;
  const [, amount = "", unit = ""] = match;
  const name = unit === "µs" ? "us" : unit;
  const unitMs = DURATION_UNITS_MS.find(([known]) => known === name)?.[1];
  if (unitMs === undefined) return undefined;
  // Divided, not multiplied by 0.001, which no binary fraction is.
  return unitMs < 1 ? Number(amount) / (1 / unitMs) : Number(amount) * unitMs;
}

/** Text that `parseDuration` reads back as the same number of milliseconds (whole microseconds). */
export function formatDuration(durationMs: number): string {
  for (const [unit, unitMs] of DURATION_UNITS_MS) {
    if (unitMs >= 1 && durationMs >= unitMs && durationMs % unitMs === 0) {
      return `${durationMs / unitMs}${unit}`;
    }
  }
  return `${Math.round(durationMs * 1000)}us`;
}
