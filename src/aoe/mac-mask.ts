import {
  type Directive,
  MASK_DIRECTIVE_BYTES,
  MASK_DIRECTIVES_OFFSET_BYTES,
  MASK_LIMIT,
  maskCommand,
  MaskCommand,
  MaskDirective,
  maskDirective,
  maskDirectiveCount,
  MaskError,
  writeMaskDirective,
  writeMaskResult,
} from "./access.wire.ts";
import type { Exchange } from "./exchange.ts";
import { sameMacs } from "./same-macs.ts";
import { AoeError, ETHERNET_HEADER_BYTES } from "./header.wire.ts";

/**
 * Command 2, MAC mask list (AoEr11 §3.3): who is heard by a target. An edit is applied as a whole
 * or not at all, and stored before it is confirmed. A list that would not fit the reply is full:
 * 185 addresses at MTU 1500, 255 where the frames are larger.
 */
export function answerMacMask(exchange: Exchange): void {
  switch (maskCommand(exchange.bytes, exchange.frameOffset)) {
    case MaskCommand.read:
      return replyMask(exchange);
    case MaskCommand.edit:
      return editMask(exchange);
    default:
      return exchange.replyError(AoeError.badArgument);
  }
}

function editMask(exchange: Exchange): void {
  const directives = requestDirectives(exchange);
  if (directives === undefined) return exchange.replyError(AoeError.badArgument);
  if (!exchange.target.allowsChange("mask")) {
    return replyMaskError(exchange, MaskError.unspecified, 0);
  }
  let outcome: EditedMask = { error: MaskError.none, mask: [], directive: 0 };
  const limit = maskLimit(exchange);
  const change = exchange.target.changeState((state) => {
    outcome = applyDirectives(state.mask, directives, limit);
    if (outcome.error !== MaskError.none || sameMacs(outcome.mask, state.mask)) return undefined;
    return { ...state, mask: outcome.mask };
  });
  change.then(
    () => {
      if (outcome.error === MaskError.none) replyMask(exchange);
      else replyMaskError(exchange, outcome.error, outcome.directive);
    },
    () => replyMaskError(exchange, MaskError.unspecified, 0),
  );
}

/** The directives of the request; undefined when it claims more than it carries. */
function requestDirectives(exchange: Exchange): Directive[] | undefined {
  const { bytes, frameOffset, frameLengthBytes } = exchange;
  const count = maskDirectiveCount(bytes, frameOffset);
  const needed = MASK_DIRECTIVES_OFFSET_BYTES + count * MASK_DIRECTIVE_BYTES;
  if (needed > frameLengthBytes) return undefined;
  return Array.from({ length: count }, (_, index) => maskDirective(bytes, frameOffset, index));
}

export interface EditedMask {
  readonly error: MaskError;
  readonly mask: readonly number[];
  /** With an error: which directive was refused. */
  readonly directive: number;
}

/**
 * Applies directives in order. The list keeps the order in which addresses were added.
 * @param limit how long the list may become
 */
function applyDirectives(
  mask: readonly number[],
  directives: readonly Directive[],
  limit: number,
): EditedMask {
  const edited = new Set(mask);
  for (const [index, directive] of directives.entries()) {
    switch (directive.command) {
      case MaskDirective.none:
        break;
      case MaskDirective.add:
        if (edited.has(directive.mac)) break;
        edited.add(directive.mac);
        if (edited.size > limit) return { error: MaskError.listFull, mask, directive: index };
        break;
      case MaskDirective.remove:
        edited.delete(directive.mac);
        break;
      default:
        return { error: MaskError.badDirective, mask, directive: index };
    }
  }
  return { error: MaskError.none, mask: [...edited], directive: 0 };
}

function replyMaskError(exchange: Exchange, error: MaskError, directive: number): void {
  exchange.reply(writeMaskResult(exchange.bytes, exchange.frameOffset, error, directive));
}

/** How many addresses a reply by the interface of this request can tell. */
function maskLimit({ port }: Exchange): number {
  const roomBytes = port.mtuBytes + ETHERNET_HEADER_BYTES - MASK_DIRECTIVES_OFFSET_BYTES;
  return Math.min(Math.floor(roomBytes / MASK_DIRECTIVE_BYTES), MASK_LIMIT);
}

/** Tells the list; of one made over an interface with larger frames, what fits. */
function replyMask(exchange: Exchange): void {
  const { bytes, frameOffset, target } = exchange;
  const macs = target.state.mask.slice(0, maskLimit(exchange));
  const headBytes = writeMaskResult(bytes, frameOffset, MaskError.none, macs.length);
  macs.forEach((mac, index) => writeMaskDirective(bytes, frameOffset, index, mac));
  exchange.reply(headBytes + macs.length * MASK_DIRECTIVE_BYTES);
}
