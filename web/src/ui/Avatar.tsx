/** A face made of initials, in a colour that stays with the id; for rooms a tile instead of a disc. */
import { hue, initials } from "../core/format";
import { title } from "../core/rooms";
import { statusOf } from "../state/presence";
import type { Room, Status } from "../wire";

const HUES = 8;
const STATUS_NAMES: Record<Status, string> = {
  online: "online",
  away: "away",
  dnd: "do not disturb",
  offline: "offline",
};

interface Props {
  id: string;
  name: string;
  shape?: "disc" | "tile";
  small?: boolean;
  /** Show a dot that says whether this user is there. */
  user?: string;
}

export function Avatar({ id, name, shape = "disc", small = false, user }: Props) {
  return (
    <span class={`avatar ${shape} hue-${hue(id, HUES)}${small ? " small" : ""}`}>
      <span aria-hidden="true">{initials(name)}</span>
      {user !== undefined && <PresenceDot user={user} />}
    </span>
  );
}

export function RoomAvatar({ room, small = false }: { room: Room; small?: boolean }) {
  if (room.peer) return <Avatar id={room.peer.id} name={title(room)} small={small} user={room.peer.id} />;
  return <Avatar id={room.id} name={title(room)} shape="tile" small={small} />;
}

function PresenceDot({ user }: { user: string }) {
  const status = statusOf(user);
  return (
    <span class="presence-dot" data-testid="presence-dot" data-status={status}>
      <span class="sr-only">{STATUS_NAMES[status]}</span>
    </span>
  );
}
