/** Short messages to the person: a line that shows for a while, and one that only screen readers hear. */
import { signal } from "@preact/signals";
import { sentence } from "../core/sentences";
import { asRefused } from "../errors";

const SHOWN_MS = 6000;

export interface Toast {
  readonly id: number;
  readonly text: string;
  readonly tone: "info" | "error";
}

export const toasts = signal<readonly Toast[]>([]);
export const spoken = signal("");

let lastId = 0;

export function tell(text: string, tone: Toast["tone"] = "info"): void {
  lastId += 1;
  const toast = { id: lastId, text, tone };
  toasts.value = [...toasts.value.filter((one) => one.text !== text).slice(-2), toast];
  setTimeout(() => dismiss(toast.id), SHOWN_MS);
}

export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((one) => one.id !== id);
}

/** Show why something did not work. */
export function complain(error: unknown): void {
  tell(sentence(asRefused(error)), "error");
}

export function speak(text: string): void {
  spoken.value = text;
}
