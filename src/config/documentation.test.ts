import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseConfiguration } from "./load.ts";
import { azureSchema, directorySchema, s3Schema } from "./object-store-keys.ts";
import { casSchema, serverSchema, snapshotsSchema, targetSchema } from "./schema.ts";

const page = readFileSync(new URL("../../docs/configuration.md", import.meta.url), "utf8");

/** The part of the page below a heading, up to the next one. */
function section(heading: string): string {
  const [, below = ""] = page.split(`\n${heading}\n`);
  return below.split(/\n#+ /, 1)[0];
}

test("every example is a valid configuration", () => {
  const examples = [...page.matchAll(/```toml\n([^]*?)```/g)].map((match) => match[1]);
  expect(examples.length).toBeGreaterThan(1);
  for (const example of examples) parseConfiguration(example, "/etc/aoed/aoed.toml");
});

describe("every key is explained, and no other", () => {
  test.each([
    { heading: "## [server]", schema: serverSchema },
    { heading: "## [[target]]", schema: targetSchema },
    { heading: "### [target.cas]", schema: casSchema },
    { heading: "### [target.cas.snapshots]", schema: snapshotsSchema },
    { heading: "### [target.cas.directory]", schema: directorySchema },
    { heading: "### [target.cas.s3]", schema: s3Schema },
    { heading: "### [target.cas.azure]", schema: azureSchema },
  ])("$heading", ({ heading, schema }) => {
    const rows = section(heading).matchAll(/^\| (`[^|]*`) \|/gm);
    const explained = [...rows].flatMap((row) => row[1].replaceAll("`", "").split(", "));
    const keys = Object.keys(schema.entries).filter((key) => key !== "cas");
    expect(explained.toSorted()).toEqual(keys.toSorted());
  });
});
