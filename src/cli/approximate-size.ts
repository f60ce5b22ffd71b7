const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** For people, in three digits: 1288490188 → "1.20 GiB". */
export function approximateSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0) return `${Math.round(value)} B`;
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}
