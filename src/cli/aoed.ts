import { enableCompileCache } from "node:module";
import { compileCacheDirectory } from "./compile-cache.ts";

/**
 * Where aoed starts. What V8 makes of the sources is kept, which halves the time until a server that
 * is started again answers; so everything else is loaded after that has been said.
 */
const directory = compileCacheDirectory();
if (directory !== undefined) enableCompileCache(directory);
await import("./run-command.ts");
