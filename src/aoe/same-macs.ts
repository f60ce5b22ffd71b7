/** Whether a change of a list of MACs leaves it as it is: nothing needs to be stored then. */
export function sameMacs(left: readonly number[], right: readonly number[]): boolean {
  return left.length === right.length && left.every((mac, index) => mac === right[index]);
}
