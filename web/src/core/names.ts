/** Names as they may be shown: they come from other people and stand beside other text. Pure. */

/** Controls of direction turn what stands behind them too; the page isolates names by itself. */
const DIRECTION = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
/** Nothing of this can be seen: separators, controls, marks without a letter, fillers. */
const UNSEEN = /[\p{C}\p{Z}\p{M}\p{Default_Ignorable_Code_Point}\u2800\u3164\uffa0\u115f\u1160\ufffc\u{1d159}]/gu;
/** More marks on one letter than any language has paint over what stands above and below. */
const MARKS = /(\p{M}{4})\p{M}+/gu;

export function isSeen(text: string): boolean {
  return text.replace(UNSEEN, "") !== "";
}

/** A name without what would change its surroundings; `instead` for one that shows nothing. */
export function shownName(name: string, instead: string): string {
  const text = name.replace(DIRECTION, "").replace(MARKS, "$1").trim();
  return isSeen(text) ? text : instead;
}

/** A name inside a sentence: its direction stays its own (Unicode Bidirectional Algorithm, isolates). */
export function isolated(name: string): string {
  return `\u2068${name}\u2069`;
}
