/** The dialogs that belong to no room. */
import { close, dialog } from "../state/dialog";
import { signOut, talkTo } from "../state/live";
import * as outbox from "../state/outbox";
import { AccountDialog } from "./AccountDialog";
import { Dialog } from "./Dialog";
import { PeopleDialog } from "./PeopleDialog";
import { BrowseRooms, NewRoom } from "./RoomDialogs";
import { StatusDialog } from "./StatusDialog";

export function Dialogs() {
  switch (dialog.value) {
    case "new":
      return <NewRoom onClose={close} />;
    case "browse":
      return (
        <BrowseRooms
          onClose={close}
          onCreate={() => {
            dialog.value = "new";
          }}
        />
      );
    case "direct":
      return (
        <PeopleDialog
          title="New direct chat"
          hint="Type the beginning of a username."
          pick={(user) => talkTo(user.id)}
          onClose={close}
        />
      );
    case "status":
      return (
        <StatusDialog
          onClose={close}
          onAccount={() => {
            dialog.value = "account";
          }}
        />
      );
    case "account":
      return <AccountDialog onClose={close} />;
    case "sign-out":
      return <SignOutAnyway onClose={close} />;
    default:
      return null;
  }
}

function SignOutAnyway({ onClose }: { onClose(): void }) {
  const count = outbox.unsent.value.length;
  return (
    <Dialog title="Sign out?" onClose={onClose}>
      <p>
        {count === 1 ? "One message has" : `${count} messages have`} not been sent yet. Signing out discards{" "}
        {count === 1 ? "it" : "them"}.
      </p>
      <div class="dialog-actions">
        <button class="button" type="button" onClick={onClose}>
          Stay
        </button>
        <button
          class="button danger"
          type="button"
          data-testid="sign-out-anyway"
          onClick={() => {
            onClose();
            signOut();
          }}
        >
          Sign out anyway
        </button>
      </div>
    </Dialog>
  );
}
