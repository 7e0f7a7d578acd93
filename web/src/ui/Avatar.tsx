/** A face made of initials, in a colour that stays with the id; for rooms a tile instead of a disc. */
import { hue, initials } from "../core/format";
import { title } from "../core/rooms";
import { STATUS_NAMES } from "../core/status";
import { statusOf } from "../state/presence";
import type { Room, Status } from "../wire";

const HUES = 8;

interface Props {
  id: string;
  name: string;
  shape?: "disc" | "tile";
  small?: boolean;
  /** Show a dot that says whether this user is there. */
  user?: string;
  /** The same with a dot that is given. */
  shown?: Status | undefined;
}

export function Avatar({ id, name, shape = "disc", small = false, user, shown }: Props) {
  return (
    <span class={`avatar ${shape} hue-${hue(id, HUES)}${small ? " small" : ""}`}>
      <span aria-hidden="true">{initials(name)}</span>
      {shown !== undefined ? <Dot status={shown} /> : user !== undefined && <Dot status={statusOf(user)} />}
    </span>
  );
}

export function RoomAvatar({ room, small = false }: { room: Room; small?: boolean }) {
  if (room.peer) return <Avatar id={room.peer.id} name={title(room)} small={small} user={room.peer.id} />;
  return <Avatar id={room.id} name={title(room)} shape="tile" small={small} />;
}

function Dot({ status }: { status: Status }) {
  return (
    <span class="presence-dot" data-testid="presence-dot" data-status={status}>
      <span class="sr-only">{STATUS_NAMES[status]}</span>
    </span>
  );
}
