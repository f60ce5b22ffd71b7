import { expect, test } from "vitest";
import { NoAnswer } from "../errors.ts";
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

test("a target stays where it is when its worker does not answer", async () => {
  const server = { setElsewhere: async () => Promise.resolve() };
  const control = { removeTarget: async () => Promise.reject(new NoAnswer("silence")) };
  const worker = { server, control } as unknown as Worker;
  const placement = new Placement();
  placement.add({ shelf: 1, slot: 0 }, worker);
  await expect(new WorkersApi([worker], placement).removeTarget(1, 0)).rejects.toThrow("silence");
  expect(placement.at({ shelf: 1, slot: 0 })).toBe(worker);
});

test("a target is removed though the worker that is told of it does not answer", async () => {
  const silence = async () => Promise.reject(new NoAnswer("silence"));
  const first = { server: { setElsewhere: silence } } as unknown as Worker;
  const control = { removeTarget: async () => Promise.resolve() };
  const second = { control } as unknown as Worker;
  const placement = new Placement();
  placement.add({ shelf: 1, slot: 0 }, second);
  await new WorkersApi([first, second], placement).removeTarget(1, 0);
  expect(placement.has({ shelf: 1, slot: 0 })).toBe(false);
});
