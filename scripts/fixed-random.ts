import fc from "fast-check";
import { fixedSeed } from "../src/conformance/fixed-seed.testing.ts";

/** Run before each test file: see fixedSeed. */
const seed = fixedSeed();
if (seed !== undefined) fc.configureGlobal({ ...fc.readConfigureGlobal(), seed });
