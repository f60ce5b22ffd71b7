import { test } from "vitest";
import { clientKind } from "./client.ts";
import { HostClient } from "./host-client.ts";
import { Lab } from "./lab.ts";
import { type ServerKind, serverKind } from "./server.ts";

export interface ScenarioOptions {
  timeoutMs?: number;
  /** Why a server other than aoed cannot pass this; the test is skipped for it. */
  beyond?: Partial<Record<ServerKind, string>>;
  /** Requests of the client are meant to fail. */
  diskErrors?: boolean;
  /** Needs no aoe driver, so it runs whatever KERNEL says. */
  withoutDriver?: boolean;
}

const DEFAULT_TIMEOUT_MS = 900_000;

/** A test with a lab of its own, which is closed however the test ends. */
export function scenario(
  name: string,
  options: ScenarioOptions,
  body: (lab: Lab) => Promise<void>,
): void {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  test(name, { timeout: timeoutMs }, async ({ skip }) => {
    const beyond = options.beyond?.[serverKind()];
    if (beyond !== undefined) skip(`${serverKind()}: ${beyond}`);
    if (clientKind() === "host" && options.withoutDriver !== true) {
      const obstacle = await HostClient.obstacle();
      if (obstacle !== undefined) skip(obstacle);
    }
    console.log(`▶ ${name}`);
    const lab = new Lab(name);
    try {
      await body(lab);
      lab.assertSound({ diskErrors: options.diskErrors ?? false });
    } catch (error) {
      lab.describeFailure();
      throw error;
    } finally {
      await lab.close();
    }
  });
}
