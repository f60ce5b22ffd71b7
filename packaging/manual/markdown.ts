import { lexer, type Token, type Tokens } from "marked";
import { bold, italic, literal, paragraph, plain, section, subsection, tagged } from "./roff.ts";

/**
 * A page of docs/ as part of a man page. What the pages use is known here; anything else is a
 * mistake that stops the build, rather than text that goes missing.
 */
export function markdownPage(markdown: string): string[] {
  // The title is the man page's own.
  return lexer(markdown)
    .filter((token) => !(token.type === "heading" && (token as Tokens.Heading).depth === 1))
    .flatMap(block);
}

function block(token: Token): string[] {
  switch (token.type) {
    case "space":
      return [];
    case "heading": {
      const { depth, tokens } = token as Tokens.Heading;
      const title = tokens.map(textOf).join("");
      return depth === 2 ? section(title) : subsection(title);
    }
    case "paragraph":
    case "text":
      return paragraph(inline(token));
    case "code":
      return literal((token as Tokens.Code).text);
    case "list":
      return listLines(token as Tokens.List);
    case "table":
      return tableLines(token as Tokens.Table);
    default:
      throw new Error(`a man page cannot show the Markdown "${token.type}": ${token.raw}`);
  }
}

/** Lists that belong to the text around them, with a dot or a number before each item. */
function listLines({ items, ordered }: Tokens.List): string[] {
  return items.flatMap((item, index) => {
    const [first = "", ...others] = item.tokens.flatMap(block).filter((text) => text !== ".PP");
    return [`.IP ${ordered ? `${index + 1}.` : "\\(bu"} 4`, first, ...others];
  });
}

/** Each row as an entry: the first column names it, the last explains it, others are in between. */
function tableLines({ header, rows }: Tokens.Table): string[] {
  return rows.flatMap((row) => {
    const cells = row.map((cell) => cell.tokens.map(inlineToken).join(""));
    const facts = cells
      .slice(1, -1)
      .map((cell, index) => (cell === "" ? "" : `${plain(header[index + 1]?.text ?? "")}: ${cell}`))
      .filter((fact) => fact !== "");
    const tag = facts.length === 0 ? (cells[0] ?? "") : `${cells[0]} (${facts.join("; ")})`;
    return tagged(tag, cells.length > 1 ? [cells.at(-1) ?? ""] : []);
  });
}

function inline(token: Token): string {
  const { tokens } = token as Tokens.Paragraph;
  return tokens === undefined ? plain(unescaped(token.raw)) : tokens.map(inlineToken).join("");
}

function inlineToken(token: Token): string {
  switch (token.type) {
    case "text":
    case "escape":
      return plain(unescaped((token as Tokens.Text).text));
    case "codespan":
      return bold(unescaped((token as Tokens.Codespan).text));
    case "strong":
      return bold(textOf(token));
    case "em":
      return italic(textOf(token));
    case "link":
      return inline(token);
    case "br":
      return "\n";
    default:
      throw new Error(`a man page cannot show the Markdown "${token.type}": ${token.raw}`);
  }
}

function textOf(token: Token): string {
  const { tokens, text } = token as Tokens.Paragraph;
  return tokens === undefined || tokens.length === 0
    ? unescaped(text)
    : tokens.map(textOf).join("");
}

/** The lexer leaves some characters as HTML has them. */
function unescaped(text: string): string {
  return text
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&amp;", "&");
}
