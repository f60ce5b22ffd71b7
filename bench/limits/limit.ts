/** One promise of the content-addressed backend beside what was measured. */
export interface LimitResult {
  readonly what: string;
  readonly asked: string;
  readonly measured: string;
  readonly holds: boolean;
  /** How it was measured, and what belongs to it. */
  readonly remark: string;
}

export interface MeasureContext {
  /** An empty folder on the disk that is measured. */
  readonly directory: string;
  /** Takes a file out of the page cache. */
  evict(path: string): Promise<void>;
  /** Runs one of `helpers` in a process of its own; what it reports. */
  inProcess(helper: string, ...parameters: string[]): Promise<unknown>;
  readonly isQuick: boolean;
}

export function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;
}
