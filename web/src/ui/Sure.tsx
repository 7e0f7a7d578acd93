/** A button that asks whether one is sure, and does it with the second click. */
import { useState } from "preact/hooks";
import { Icon, type IconName } from "./Icon";

interface SureProps {
  testid: string;
  icon: IconName;
  word: string;
  label: string;
  onSure(): void;
}

export function Sure({ testid, icon, word, label, onSure }: SureProps) {
  const [asked, setAsked] = useState(false);
  return (
    <button
      class={`button small danger${asked ? " sure" : ""}`}
      type="button"
      data-testid={testid}
      aria-label={asked ? `Really: ${label}` : label}
      onBlur={() => setAsked(false)}
      onClick={() => {
        if (asked) onSure();
        setAsked(!asked);
      }}
    >
      <Icon name={icon} /> {asked ? `${word}?` : word}
    </button>
  );
}
