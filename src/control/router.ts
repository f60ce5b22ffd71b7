import type { ManagementApi } from "./control-api.ts";
import type { JobControl } from "./store-api.ts";

/** A request, taken apart. */
export interface ApiRequest {
  /** What stands for `:name` in the path of the route. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** JSON; `{}` without a body. */
  readonly body: unknown;
}

/** Work that takes a while: its progress is sent as it goes, then its report. */
export class Job {
  readonly run: (control: JobControl) => Promise<unknown>;

  constructor(run: (control: JobControl) => Promise<unknown>) {
    this.run = run;
  }
}

export interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  /** "/v1/volumes/:volume" */
  readonly path: string;
  /** Returns what becomes the body of the answer, or a Job. @throws UsageError */
  readonly handle: (api: ManagementApi, request: ApiRequest) => unknown;
}

export interface RouteMatch {
  readonly route: Route;
  readonly parameters: Readonly<Record<string, string>>;
}

export function findRoute(
  routes: readonly Route[],
  method: string,
  path: string,
): RouteMatch | undefined {
  for (const route of routes) {
    if (route.method !== method) continue;
    const parameters = parametersOf(route.path, path);
    if (parameters !== undefined) return { route, parameters };
  }
  return undefined;
}

function parametersOf(pattern: string, path: string): Record<string, string> | undefined {
  const wanted = pattern.split("/");
  const parts = path.split("/");
  if (wanted.length !== parts.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, name] of wanted.entries()) {
    const part = parts[index];
    if (!name.startsWith(":")) {
      if (name !== part) return undefined;
      continue;
    }
    const value = decoded(part);
    if (value === undefined || value === "") return undefined;
    parameters[name.slice(1)] = value;
  }
  return parameters;
}

function decoded(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}
