/** Which of the page's dialogs is open. */
import { signal } from "@preact/signals";

export const dialog = signal<"new" | "browse" | "direct" | "status" | "account" | "sign-out" | null>(null);

export function close(): void {
  dialog.value = null;
}
