import { type Metric, Registry } from "@prometheus-io/client";
import type { MetricFamily } from "./metric-families.ts";

export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

/**
 * Writes what a scraper reads. The library does the format; the counting is our own, in typed arrays
 * (docs/adr/0022), so each scrape hands it finished values.
 * @param accept the request's header: OpenMetrics for whoever asks for it, else the older text
 */
export async function expose(
  families: readonly MetricFamily[],
  accept: string | undefined,
): Promise<Exposition> {
  const contentType = wantsOpenMetrics(accept)
    ? Registry.OPENMETRICS_CONTENT_TYPE
    : Registry.PROMETHEUS_CONTENT_TYPE;
  const registry = new Registry(contentType);
  for (const family of families) {
    if (family.values.length > 0)
      registry.registerMetric(new Finished(family) as unknown as Metric);
  }
  return { contentType, text: await registry.metrics() };
}

function wantsOpenMetrics(accept = ""): boolean {
  return /application\/openmetrics-text/i.test(accept);
}

/** A metric that is what it is: the registry asks for no more than this. */
class Finished {
  /** The registry renames counters for OpenMetrics. */
  name: string;
  readonly help: string;
  readonly type: string;
  readonly #family: MetricFamily;

  constructor(family: MetricFamily) {
    this.name = family.name;
    this.help = family.help;
    this.type = family.type;
    this.#family = family;
  }

  get(): object {
    return { name: this.name, help: this.help, type: this.type, values: this.#family.values };
  }
}
