import assert from "node:assert/strict";
import { config, EVERY_SHELF, EVERY_SLOT, frameOf, hex } from "./frames.testing.ts";
import type { Body, Header, Mac } from "./frames.testing.ts";
import { Reply } from "./replies.testing.ts";
import type { TargetOptions, Wire } from "./rig.testing.ts";

export type HeaderOverrides = Partial<Omit<Header, "source">> & { readonly source?: Mac };

const FENCE_ATTEMPTS = 20;
/** After which what an overloaded server may have lost is sent again. */
const REPEAT_AFTER_MS = 1500;

/** What was asked was not answered in time. */
export class NoReply extends Error {}

/** Address of every target at once. */
export const EVERYONE = { shelf: EVERY_SHELF, slot: EVERY_SLOT } as const;

/**
 * One Ethernet segment as the tests see it: stations that send, and an inbox of what the server
 * said. Silence is proved without waiting for a timeout: after the frames that must stay unanswered
 * comes a Config query (the fence), and nothing but its answer may arrive.
 */
export class Segment {
  readonly wire: Wire;
  readonly targets: readonly TargetOptions[];
  #inbox: Reply[] = [];
  #tag = 0x00010000;

  constructor(wire: Wire, targets: readonly TargetOptions[]) {
    this.wire = wire;
    this.targets = targets;
  }

  station(mac: Mac): Station {
    return new Station(this, mac);
  }

  nextTag(): number {
    return this.#tag++;
  }

  /** Takes the first reply that matches, waiting for it. */
  async take(
    what: string,
    matches: (reply: Reply) => boolean,
    timeoutMs = this.wire.replyTimeoutMs,
  ): Promise<Reply> {
    const index = this.#inbox.findIndex(matches);
    if (index >= 0) return this.#inbox.splice(index, 1)[0];
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const frame = await this.wire.receive(Math.max(0, deadline - performance.now()));
      if (frame === null) {
        const others = this.#inbox.slice(0, 5).map((reply) => `\n  instead: ${reply.hex}`);
        throw new NoReply(`${what} got no reply${others.join("")}`);
      }
      const reply = new Reply(frame);
      if (!reply.isAoe) continue;
      if (matches(reply)) return reply;
      this.#inbox.push(reply);
    }
  }

  async beacon(
    matches: (reply: Reply) => boolean = () => true,
    timeoutMs = this.wire.replyTimeoutMs,
  ): Promise<Reply> {
    return await this.take("beacon", (reply) => reply.isBeacon && matches(reply), timeoutMs);
  }

  /** Everything that has come and comes until nothing more is under way. */
  async drain(): Promise<Reply[]> {
    await this.wire.settle();
    for (;;) {
      const frame = await this.wire.receive(0);
      if (frame === null) break;
      this.#keep(frame);
    }
    const replies = this.#inbox;
    this.#inbox = [];
    return replies;
  }

  /** Nothing may have been said but beacons, also after a fence by `by`. */
  async expectNothing(what: string, by: Station): Promise<void> {
    const fences = await this.#fence(by);
    const unexpected = (await this.drain()).filter(
      (reply) => !reply.isBeacon && !fences.some((fence) => by.isReplyTo(reply, fence)),
    );
    const shown = unexpected.map((reply) => `\n  ${reply.hex}`).join("");
    assert.equal(unexpected.length, 0, `${what} must stay unanswered, but got${shown}`);
  }

  /** Hands over what has come and comes until the answer to a fence, and all of it must be known. */
  async expectNothingElse(isKnown: (reply: Reply) => boolean, by: Station): Promise<void> {
    const fences = await this.#fence(by);
    for (const reply of await this.drain()) {
      const isFence = fences.some((fence) => by.isReplyTo(reply, fence));
      assert.ok(reply.isBeacon || isFence || isKnown(reply), `nobody asked for ${reply.hex}`);
    }
  }

  /** A query that comes after all that was sent, repeated when an overloaded server lost it. */
  async #fence(by: Station): Promise<Header[]> {
    const fences: Header[] = [];
    for (;;) {
      fences.push(by.send(config(), { destination: this.wire.serverMac() }));
      try {
        const isAnswer = (reply: Reply): boolean =>
          fences.some((fence) => by.isReplyTo(reply, fence));
        await this.take("the query after it", isAnswer, REPEAT_AFTER_MS);
        return fences;
      } catch (error) {
        if (!(error instanceof NoReply) || fences.length === FENCE_ATTEMPTS) throw error;
      }
    }
  }

  #keep(frame: Uint8Array): void {
    const reply = new Reply(frame);
    if (reply.isAoe) this.#inbox.push(reply);
  }
}

/** An initiator with a MAC of its own. */
export class Station {
  readonly segment: Segment;
  readonly mac: Mac;

  constructor(segment: Segment, mac: Mac) {
    this.segment = segment;
    this.mac = mac;
  }

  /** The header of a unicast request to the first target, with changes. */
  header(overrides: HeaderOverrides = {}): Header {
    const [{ shelf, slot }] = this.segment.targets;
    return {
      destination: this.segment.wire.serverMac(),
      source: this.mac,
      shelf,
      slot,
      tag: this.segment.nextTag(),
      ...overrides,
    };
  }

  sendRaw(frame: Uint8Array): void {
    this.segment.wire.send(frame);
  }

  /** @returns the header that was sent */
  send(body: Body, overrides: HeaderOverrides = {}): Header {
    const header = this.header(overrides);
    this.sendRaw(frameOf(header, body));
    return header;
  }

  isReplyTo(reply: Reply, request: Header): boolean {
    return reply.isResponse && reply.tag === request.tag && reply.destination === request.source;
  }

  async replyTo(request: Header, what = "request", timeoutMs?: number): Promise<Reply> {
    const isAnswer = (reply: Reply): boolean => this.isReplyTo(reply, request);
    return await this.segment.take(`${what} with tag ${request.tag}`, isAnswer, timeoutMs);
  }

  /** Sends one request and takes its reply; the caller says what must be in it. */
  async request(body: Body, overrides: HeaderOverrides = {}): Promise<Reply> {
    const header = this.send(body, overrides);
    return await this.replyTo(header, `command ${hex(body.argument.subarray(0, 12))}`);
  }

  /** Sends a request again when it is not answered, as every client does. */
  async answerToOneOf(times: number, body: Body): Promise<Reply> {
    for (let sent = 1; sent < times; sent++) {
      const header = this.send(body);
      try {
        return await this.replyTo(header, "request", REPEAT_AFTER_MS);
      } catch (error) {
        if (!(error instanceof NoReply)) throw error;
      }
    }
    return this.request(body);
  }

  /** Sends one request that several targets answer, and nobody else. Sorted by address. */
  async requestAll(
    count: number,
    body: Body,
    overrides: HeaderOverrides = EVERYONE,
  ): Promise<Reply[]> {
    const header = this.send(body, overrides);
    const replies: Reply[] = [];
    while (replies.length < count) {
      replies.push(await this.replyTo(header, `answer ${replies.length + 1} of ${count} to one`));
    }
    await this.segment.expectNothing("more than one reply for each target", this);
    return replies.toSorted((one, other) => one.shelf - other.shelf || one.slot - other.slot);
  }

  /** Sends one frame that must stay unanswered. */
  async expectSilence(
    what: string,
    body: Body,
    overrides: HeaderOverrides = {},
    fenceBy: Station = this,
  ): Promise<void> {
    this.send(body, overrides);
    await this.segment.expectNothing(what, fenceBy);
  }
}
