/** A message being edited in its place. Enter saves, Escape leaves it as it was. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { room as charactersLeft, clean } from "../core/body";
import { isOfInputMethod } from "../core/keys";
import * as messages from "../state/messages";
import { grow } from "./Composer";

interface Props {
  room: string;
  seq: number;
  text: string;
  onClose(): void;
}

export function EditBox({ room, seq, text: before, onClose }: Props) {
  const [text, setText] = useState(before);
  const [busy, setBusy] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  const body = clean(text);
  const sendable = body !== "" && charactersLeft(body) >= 0;

  useLayoutEffect(() => grow(field.current), [text]);
  useEffect(() => {
    field.current?.focus();
    field.current?.setSelectionRange(before.length, before.length);
  }, [before.length]);

  async function save(): Promise<void> {
    if (!sendable || busy) return;
    if (body === before) return onClose();
    setBusy(true);
    if (await messages.edit(room, seq, body)) onClose();
    else setBusy(false);
  }

  function key(event: KeyboardEvent): void {
    if (isOfInputMethod(event)) return;
    if (event.key === "Escape") onClose();
    else if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      void save();
    }
  }

  return (
    <form
      class="edit-box"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <textarea
        ref={field}
        data-testid="message-edit-text"
        rows={1}
        dir="auto"
        aria-label="Edit the message"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={key}
      />
      <div class="edit-actions">
        <button class="button small" type="button" data-testid="message-edit-cancel" onClick={onClose}>
          Cancel
        </button>
        <button class="button small primary" type="submit" data-testid="message-edit-save" disabled={!sendable || busy}>
          Save
        </button>
      </div>
    </form>
  );
}
