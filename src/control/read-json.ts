import type { IncomingMessage } from "node:http";
import { UsageError } from "../errors.ts";

const BODY_LIMIT_BYTES = 64 * 1024;

/** The body of a request. @throws UsageError when it is no JSON, or too long */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let lengthBytes = 0;
  for await (const chunk of request) {
    const bytes = chunk as Buffer;
    lengthBytes += bytes.length;
    if (lengthBytes > BODY_LIMIT_BYTES) throw new UsageError("the request is too long");
    chunks.push(bytes);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8") || "{}");
  } catch (error) {
    throw new UsageError("the request is not JSON", { cause: error });
  }
}
