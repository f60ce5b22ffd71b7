import type { TargetConfiguration } from "../config/configuration.ts";
import { storeKeyOf } from "../server/cas-targets.ts";

/**
 * Which worker serves which targets. The targets of one store go together, because a store has one
 * owner: first the stores, in the order in which the configuration first names them, then all other
 * targets, in their order, each to the worker that has the fewest (of several the first). So the
 * same configuration is always spread in the same way.
 * @returns one list for each worker, each in the order of the configuration
 */
export function spreadTargets(
  targets: readonly TargetConfiguration[],
  workers: number,
): TargetConfiguration[][] {
  const shares = Array.from({ length: workers }, (): TargetConfiguration[] => []);
  const stores = Map.groupBy(targets, storeKeyOf);
  const alone = (stores.get(undefined) ?? []).map((target) => [target]);
  stores.delete(undefined);
  for (const together of [...stores.values(), ...alone]) leastOf(shares).push(...together);
  const position = new Map(targets.map((target, index) => [target, index]));
  const place = (target: TargetConfiguration): number => position.get(target) ?? 0;
  return shares.map((share) => share.toSorted((a, b) => place(a) - place(b)));
}

function leastOf(shares: TargetConfiguration[][]): TargetConfiguration[] {
  return shares.reduce((least, share) => (share.length < least.length ? share : least));
}
