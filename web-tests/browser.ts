import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium, type Page } from "playwright-core";

const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export interface Look {
  readonly width: number;
  readonly height: number;
  readonly scheme: "light" | "dark";
}

/** What Chromium says of a server that stops, depending on what was under way. */
const GONE = /ERR_(CONNECTION_(REFUSED|RESET|CLOSED|ABORTED)|EMPTY_RESPONSE|SOCKET_NOT_CONNECTED)/;

/** A busy machine may take long to start it and to draw. */
const PATIENCE_MS = 120_000;

/** Debian's Chromium with a profile that is new and gone afterwards. */
export class Browser {
  readonly #profile = mkdtempSync(join(tmpdir(), "aoed-browser-"));
  readonly #screenshots = process.env["WEB_SCREENSHOTS"];
  /** What the pages complained of: a blocked resource, an exception. */
  readonly complaints: string[] = [];
  #context: BrowserContext | undefined;

  async start(): Promise<void> {
    this.#context = await chromium.launchPersistentContext(this.#profile, {
      executablePath: CHROMIUM,
      args: FLAGS,
      headless: true,
      timeout: PATIENCE_MS,
    });
    this.#context.setDefaultTimeout(PATIENCE_MS);
  }

  async open(url: string, look: Look): Promise<Page> {
    if (this.#context === undefined) throw new Error("the browser does not run");
    const page = await this.#context.newPage();
    await page.setViewportSize({ width: look.width, height: look.height });
    await page.emulateMedia({ colorScheme: look.scheme });
    page.on("pageerror", (error) => this.complaints.push(`exception: ${error.message}`));
    page.on("console", (message) => {
      // A server that is gone is what some tests are about.
      const isGone = GONE.test(message.text());
      const isRefusal = /status of (4|5)\d\d/.test(message.text());
      if (message.type() === "error" && !isGone && !isRefusal) this.complaints.push(message.text());
    });
    await page.goto(url);
    return page;
  }

  /** Kept for people, where WEB_SCREENSHOTS names a folder. */
  async picture(page: Page, name: string): Promise<void> {
    if (this.#screenshots === undefined) return;
    mkdirSync(this.#screenshots, { recursive: true });
    await page.screenshot({ path: join(this.#screenshots, `${name}.png`), fullPage: true });
  }

  async close(): Promise<void> {
    await this.#context?.close();
    // Its helpers may write until the kernel has ended them.
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}
