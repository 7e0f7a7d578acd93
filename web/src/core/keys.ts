/**
 * Is this key the input method's own? Enter then picks a word. Safari ends the composition before it tells of the key,
 * with `isComposing` false and the code 229 (UI Events §7.3.1).
 */
export function isOfInputMethod(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === 229;
}

/** Keep a form from being sent by a key of Safari's input method; the word is in its place by then. */
export function guardForms(): void {
  const guard = (event: KeyboardEvent) => {
    if (event.key === "Enter" && event.keyCode === 229 && !event.isComposing) event.preventDefault();
  };
  document.addEventListener("keydown", guard, { capture: true });
}
