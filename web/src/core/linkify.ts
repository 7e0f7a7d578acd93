/** Find the http(s) links of a text. The result is rendered as text nodes and `<a>` elements, never as HTML. */

export interface Part {
  readonly text: string;
  readonly href?: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: a link ends where a control or direction character stands
const LINK = /\bhttps?:\/\/[^\s<>"'`\u0000-\u001f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/giu;

export function linkify(text: string): readonly Part[] {
  const parts: Part[] = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const shown = trim(match[0]);
    const href = safe(shown);
    if (!href) continue;
    if (match.index > end) parts.push({ text: text.slice(end, match.index) });
    parts.push({ text: shown, href });
    end = match.index + shown.length;
  }
  if (end < text.length) parts.push({ text: text.slice(end) });
  return parts;
}

/** Full stops, commas and unmatched closing brackets behind a link belong to the sentence. */
function trim(link: string): string {
  let text = link;
  for (;;) {
    const last = text.at(-1) ?? "";
    if (/[.,;:!?*_~]/.test(last)) text = text.slice(0, -1);
    else if (last === ")" && text.split("(").length < text.split(")").length) text = text.slice(0, -1);
    else if (last === "]" && text.split("[").length < text.split("]").length) text = text.slice(0, -1);
    else return text;
  }
}

/** Only what parses as http(s) with a host, and hides no name in front of it (`https://bank@evil`). */
function safe(link: string): string | null {
  if (!URL.canParse(link)) return null;
  const url = new URL(link);
  if (url.protocol !== "http:" && url.protocol !== "https:") return null;
  return url.hostname && !url.username && !url.password ? url.href : null;
}
