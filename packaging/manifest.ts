import { readFileSync } from "node:fs";

/**
 * Prints the package.json of the published aoed, which runs JavaScript and needs no tools of ours.
 * `napi` is how @napi-rs/cli names the packages of the prebuilt shim (scripts/build-npm.sh).
 *
 *   bin/node packaging/manifest.ts [VERSION]
 */
interface Manifest {
  version: string;
  [field: string]: unknown;
}

const file = new URL("../package.json", import.meta.url);
const {
  devDependencies: _tools,
  scripts: _none,
  ...published
} = JSON.parse(readFileSync(file, "utf8")) as Manifest;
const [version = published.version] = process.argv.slice(2);
const manifest = {
  ...published,
  version,
  files: ["bin", "lib"],
  napi: {
    binaryName: "aoed_shim",
    packageName: "@aoed/shim",
    targets: ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"],
  },
};
console.log(JSON.stringify(manifest, null, 2));
