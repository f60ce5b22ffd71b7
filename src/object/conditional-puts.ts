import { randomUUID } from "node:crypto";
import { ObjectFault, type ObjectStore, objectFaultCode } from "./object-store.ts";

/** Keys below this are of probes, and nobody's. */
export const PROBE_PREFIX = "probe/";

/**
 * Tries whether a store keeps the conditions of its puts, on a key of its own. One that ignores
 * them lets two writers overwrite each other without either noticing.
 * @throws ObjectFault `unsupported`, or what the store says
 */
export async function checkConditionalPuts(store: ObjectStore): Promise<void> {
  const key = `${PROBE_PREFIX}${randomUUID()}`;
  const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
  const mustNot = async (put: Promise<string>, code: string, what: string): Promise<void> => {
    try {
      await put;
    } catch (error) {
      if (objectFaultCode(error) === code) return;
      throw error;
    }
    throw new ObjectFault("unsupported", `${store.description} ${what}`);
  };
  try {
    const first = await store.putIfAbsent(key, bytes("1"));
    const anew = store.putIfAbsent(key, bytes("2"));
    await mustNot(anew, "exists", "replaces an object although it exists (If-None-Match)");
    const second = await accepted(store, store.putIfMatch(key, bytes("3"), first));
    const late = store.putIfMatch(key, bytes("4"), first);
    await mustNot(late, "changed", "replaces an object although it has changed (If-Match)");
    await accepted(store, store.putIfMatch(key, bytes("5"), second));
  } finally {
    // What is left of a probe harms nobody.
    await store.delete(key).catch(() => undefined);
  }
}

async function accepted(store: ObjectStore, put: Promise<string>): Promise<string> {
  try {
    return await put;
  } catch (error) {
    if (objectFaultCode(error) !== "changed") throw error;
    const what = "does not replace an object that has not changed (If-Match)";
    throw new ObjectFault("unsupported", `${store.description} ${what}`, { cause: error });
  }
}
