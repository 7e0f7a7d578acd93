/** The text of a message on its way out: what the contract allows, and no more. */
import { MAX_BODY_CHARS } from "../wire";

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are exactly the characters that the contract refuses
const REFUSED = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** Take out what the server would refuse, and the white space around. Empty when nothing is left to send. */
export function clean(text: string): string {
  return text.replace(/\r\n?/g, "\n").replace(REFUSED, "").replace(LONE_SURROGATE, "\ufffd").trim();
}

/** How many characters (code points, as the server counts) are left; negative when the text is too long. */
export function room(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return MAX_BODY_CHARS - count;
}

const EMOJI =
  /^(?:(?:\p{RI}{2}|\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier}|\u200d\p{Extended_Pictographic})*)\s?){1,3}$/u;

/** One to three emoji and nothing else: these are shown large. */
export function isJumbo(text: string): boolean {
  return text.length <= 64 && EMOJI.test(text);
}
