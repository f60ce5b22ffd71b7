import { expect, test } from "vitest";
import { Placement } from "./placement.ts";
import { WorkersApi } from "./workers-api.ts";
import type { Worker } from "./worker.ts";

test("a target whose disk could not be closed is removed all the same", async () => {
  const elsewhere: unknown[] = [];
  const server = { setElsewhere: async (addresses: unknown) => elsewhere.push(addresses) };
  const control = { removeTarget: async () => Promise.reject(new Error("out of order")) };
  const [first, second] = [
    { server, control },
    { server, control },
  ] as unknown as [Worker, Worker];
  const placement = new Placement();
  placement.add({ shelf: 1, slot: 0 }, second);
  const api = new WorkersApi([first, second], placement);
  await expect(api.removeTarget(1, 0)).rejects.toThrow("out of order");
  expect(placement.has({ shelf: 1, slot: 0 })).toBe(false);
  expect(placement.removedFrom({ shelf: 1, slot: 0 })).toBe(second);
  expect(elsewhere).toEqual([[]]);
});
