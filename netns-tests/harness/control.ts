import { request as httpRequest } from "node:http";
import type { JobName, Jobs } from "../../src/control/store-api.ts";

const TIMEOUT_MS = 300_000;

/** The control socket of a running aoed: docs/control.md. */
export class Control {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Rejects with the server's own words when it refuses, or when it goes away meanwhile. */
  async ask<Answer>(method: "GET" | "POST" | "DELETE", path: string, body?: object) {
    return JSON.parse(await this.#exchange(method, path, body)) as Answer;
  }

  /** Runs a job to its end. @returns its report */
  async run<Name extends JobName>(
    name: Name,
    request: Jobs[Name]["request"],
  ): Promise<Jobs[Name]["report"]> {
    const text = await this.#exchange("POST", `/v1/jobs/${name}`, request);
    const last = JSON.parse(text.trimEnd().split("\n").at(-1) ?? "") as {
      result?: Jobs[Name]["report"];
      error?: string;
    };
    if (last.result === undefined) throw new Error(`${name}: ${last.error ?? text}`);
    return last.result;
  }

  #exchange(method: string, path: string, body: object | undefined): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const options = { socketPath: this.#socketPath, method, path, timeout: TIMEOUT_MS };
    const request = httpRequest(options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
      });
    });
    request.on("timeout", () => request.destroy(new Error(`${method} ${path}: no answer`)));
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
    return promise;
  }
}
