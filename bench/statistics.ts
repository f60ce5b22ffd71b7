/** What the rounds of one measurement come to: the middle one, and how far the others were away. */
export interface Summary {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** @throws RangeError without values: a measurement that never ran has no middle */
export function summarise(values: readonly number[]): Summary {
  if (values.length === 0) throw new RangeError("no values to summarise");
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length / 2;
  const median =
    sorted.length % 2 === 1
      ? sorted[Math.floor(middle)]
      : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, lowest: sorted[0], highest: sorted[sorted.length - 1] };
}

/** Half of the range from lowest to highest in proportion to the median: 0.05 reads "± 5 %". */
export function relativeSpread({ median, lowest, highest }: Summary): number {
  return median === 0 ? 0 : (highest - lowest) / 2 / median;
}

/**
 * Ratio of two series that were measured in the same rounds, round by round: what slows a whole
 * round down slows both, and cancels out. Rounds that one of them lacks, or with nothing to divide
 * by, are left out; undefined when none remains.
 */
export function pairedRatio(
  numerators: ReadonlyMap<number, number>,
  denominators: ReadonlyMap<number, number>,
): Summary | undefined {
  const ratios: number[] = [];
  for (const [round, numerator] of numerators) {
    const denominator = denominators.get(round);
    if (denominator !== undefined && denominator > 0) ratios.push(numerator / denominator);
  }
  return ratios.length === 0 ? undefined : summarise(ratios);
}
