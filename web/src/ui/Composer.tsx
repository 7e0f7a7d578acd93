/** Where messages are written. Enter sends, Shift+Enter begins a line, ↑ in an empty one edits the last message. */
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { room as charactersLeft, clean } from "../core/body";
import { isOfInputMethod } from "../core/keys";
import { isolated } from "../core/names";
import * as drafts from "../state/drafts";
import * as outbox from "../state/outbox";
import * as typing from "../state/typing";
import { Icon } from "./Icon";

const WARN_BELOW = 500;

interface Props {
  room: string;
  name: string;
  field: RefObject<HTMLTextAreaElement | null>;
  onEditLast(): void;
  onSent(): void;
}

export function Composer({ room, name, field, onEditLast, onSent }: Props) {
  const [text, setText] = useState(() => drafts.get(room));
  const body = clean(text);
  const left = charactersLeft(body);

  useLayoutEffect(() => grow(field.current), [text, field]);
  useEffect(() => {
    // On a phone the keyboard would cover what the person came to read.
    if (matchMedia("(pointer: fine)").matches) field.current?.focus({ preventScroll: true });
  }, [field]);

  function change(next: string): void {
    setText(next);
    drafts.set(room, next);
    if (next.trim()) typing.typed(room);
  }

  function send(): void {
    if (!body || left < 0) return;
    outbox.write(room, body);
    typing.sent(room);
    setText("");
    drafts.set(room, "");
    onSent();
    field.current?.focus({ preventScroll: true });
  }

  function key(event: KeyboardEvent): void {
    if (isOfInputMethod(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && text === "") {
      event.preventDefault();
      onEditLast();
    }
  }

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="composer-box">
        <textarea
          ref={field}
          data-testid="composer"
          rows={1}
          dir="auto"
          aria-label={`Message to ${isolated(name)}`}
          placeholder={`Message ${isolated(name)}`}
          enterkeyhint="send"
          value={text}
          onInput={(event) => change(event.currentTarget.value)}
          onKeyDown={key}
        />
        <button
          class="send-button"
          type="submit"
          data-testid="composer-send"
          aria-label="Send"
          disabled={!body || left < 0}
        >
          <Icon name="send" />
        </button>
      </div>
      {left < WARN_BELOW && (
        <p class={`composer-left${left < 0 ? " over" : ""}`} role="status">
          {left < 0 ? `${-left} characters too long` : `${left} characters left`}
        </p>
      )}
    </form>
  );
}

/** As high as its text; CSS sets the limit. */
export function grow(field: HTMLTextAreaElement | null): void {
  if (!field) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}
