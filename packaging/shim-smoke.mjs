// Loads a shim that was built for a package, and compares what its hashing says with Node's.
//
//   node packaging/shim-smoke.mjs SHIM
import { createHash } from "node:crypto";
import { createRequire } from "node:module";

const shim = createRequire(import.meta.url)(process.argv[2]);
const memory = new Uint8Array(shim.mapMemory(4096)).fill(7);
const hash = new Uint8Array(32);
shim.hashPieces(memory, Uint32Array.of(0), Uint32Array.of(4096), 1, hash);
if (!createHash("sha256").update(memory).digest().equals(hash)) throw new Error("a wrong hash");
console.log(`shim-smoke: right on ${process.arch}, Node ${process.version}`);
