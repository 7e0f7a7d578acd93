/** Who is in the room, and what one may do about it. */
import { useEffect, useId, useRef, useState } from "preact/hooks";
import * as api from "../api";
import { isolated } from "../core/names";
import { grantable, mayLeave, mayManage, mayRemove } from "../core/policy";
import { title } from "../core/rooms";
import { sentence } from "../core/sentences";
import { about } from "../core/status";
import { asRefused } from "../errors";
import { forget, talkTo } from "../state/live";
import * as members from "../state/members";
import * as notices from "../state/notices";
import * as people from "../state/people";
import { isOnline, presenceOf } from "../state/presence";
import { user } from "../state/session";
import type { Member, Role, Room } from "../wire";
import { Avatar } from "./Avatar";
import { BansDialog } from "./BansDialog";
import { Dialog } from "./Dialog";
import { Icon } from "./Icon";
import { PeopleDialog } from "./PeopleDialog";
import { Sure } from "./Sure";

const ROLE_NAMES: Record<Role, string> = { owner: "Owner", admin: "Admin", member: "Member" };
const OVER_THE_ROOM = "(max-width: 1099px)"; // as in room.css
const ORDER: Record<Role, number> = { owner: 0, admin: 1, member: 2 };
/** Roles of a newer release stand among those of members, by their own names. */
const place = (role: Role) => ORDER[role] ?? ORDER.member;

export function MembersPanel({ room, onClose }: { room: Room; onClose(): void }) {
  const [open, setOpen] = useState<"add" | "bans" | "leave" | null>(null);
  const state = members.members.value;
  const list = [...((state?.room === room.id && state.list) || [])].sort(inOrder);
  const closer = useRef<HTMLButtonElement>(null);
  const taken = new Map(list.map((member) => [member.user.id, "member"]));

  useEffect(() => {
    if (matchMedia(OVER_THE_ROOM).matches) closer.current?.focus();
  }, []);

  async function add(id: string): Promise<void> {
    members.put(room.id, await api.addMember(room.id, id));
  }

  return (
    <aside
      class="panel"
      aria-label="Members"
      onKeyDown={(event) => {
        if (event.key === "Escape" && !open) onClose();
      }}
    >
      <header class="panel-head">
        <h2>Members</h2>
        <button ref={closer} class="icon-button" type="button" aria-label="Close the list of members" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {mayManage(room) && (
        <button class="button wide" type="button" data-testid="member-add" onClick={() => setOpen("add")}>
          <Icon name="plus" /> Add people
        </button>
      )}
      {state?.code && <p class="form-error">{sentence({ code: state.code })}</p>}
      <ul class="members">
        {list.map((member) => (
          <MemberItem key={member.user.id} room={room} member={member} />
        ))}
      </ul>
      {mayManage(room) && (
        <button class="button wide" type="button" data-testid="bans-open" onClick={() => setOpen("bans")}>
          <Icon name="ban" /> Banned people
        </button>
      )}
      {mayLeave(room) && (
        <button class="button danger wide" type="button" data-testid="room-leave" onClick={() => setOpen("leave")}>
          <Icon name="leave" /> Leave room
        </button>
      )}
      {open === "add" && (
        <PeopleDialog
          title={`Add to ${isolated(title(room))}`}
          hint="Type the beginning of a username."
          taken={taken}
          pick={(found) => add(found.id)}
          onClose={() => setOpen(null)}
        />
      )}
      {open === "bans" && <BansDialog room={room} onClose={() => setOpen(null)} />}
      {open === "leave" && <Leave room={room} onClose={() => setOpen(null)} />}
    </aside>
  );
}

/** Those who are there first, then by role and name. */
function inOrder(a: Member, b: Member): number {
  const there = Number(isOnline(b.user.id)) - Number(isOnline(a.user.id));
  return there || place(a.role) - place(b.role) || a.user.display_name.localeCompare(b.user.display_name);
}

function MemberItem({ room, member }: { room: Room; member: Member }) {
  const { id, username } = member.user;
  const name = people.nameIn(member.user);
  const me = user.value?.id;
  const own = id === me;

  async function attempt(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      notices.complain(error);
    }
  }

  const [open, setOpen] = useState(false);
  const actions = useId();
  const line = about(presenceOf(id), Date.now());

  return (
    <li class="member" data-testid="member-item" data-user={id} data-role={member.role}>
      <Avatar id={id} name={name} user={id} />
      <span class="member-text">
        <strong>
          <bdi>{name}</bdi>
          {own && <span class="member-you"> (you)</span>}
          {member.role !== "member" && <small class="tag">{ROLE_NAMES[member.role] ?? member.role}</small>}
        </strong>
        <small class="member-username">@{username}</small>
        {line && (
          <small data-testid="member-about">
            <bdi>{line}</bdi>
          </small>
        )}
      </span>
      {(!own || grantable(room, member.role).length > 1) && (
        <button
          class="icon-button small"
          type="button"
          data-testid="member-menu"
          title="Actions"
          aria-label={`Actions for ${name}`}
          aria-expanded={open}
          aria-controls={actions}
          onClick={() => setOpen(!open)}
        >
          <Icon name="more" />
        </button>
      )}
      <span class="member-actions" id={actions} hidden={!open}>
        {!own && (
          <button class="button small" type="button" onClick={() => attempt(() => talkTo(id))}>
            <Icon name="chat" /> Write
          </button>
        )}
        <RoleOf room={room} member={member} attempt={attempt} />
        {!own && (
          <Sure
            testid="member-block"
            icon="lock"
            word="Block"
            label={`Block ${name}`}
            onSure={() =>
              attempt(async () => {
                await api.block(id);
                notices.tell(`${isolated(name)} is blocked. Your account page lists whom you block.`);
              })
            }
          />
        )}
        {!own && mayRemove(room, member.role) && (
          <>
            <Sure
              testid="member-remove"
              icon="close"
              word="Remove"
              label={`Remove ${name}`}
              onSure={() => attempt(() => api.removeMember(room.id, id))}
            />
            <Sure
              testid="member-ban"
              icon="ban"
              word="Ban"
              label={`Ban ${name}`}
              onSure={() => attempt(() => api.ban(room.id, id))}
            />
          </>
        )}
      </span>
    </li>
  );
}

interface RoleProps {
  room: Room;
  member: Member;
  attempt(work: () => Promise<unknown>): Promise<void>;
}

function RoleOf({ room, member, attempt }: RoleProps) {
  const { id } = member.user;
  const name = people.nameIn(member.user);
  const roles = grantable(room, member.role);
  if (roles.length < 2) return null;

  async function change(select: HTMLSelectElement): Promise<void> {
    try {
      members.put(room.id, await api.changeRole(room.id, id, select.value as Role));
    } catch (error) {
      select.value = member.role;
      throw error;
    }
  }

  return (
    <select
      class="role"
      data-testid="member-role"
      aria-label={`Role of ${name}`}
      value={member.role}
      onChange={(event) => {
        const select = event.currentTarget;
        void attempt(() => change(select));
      }}
    >
      {roles.map((role) => (
        <option key={role} value={role}>
          {ROLE_NAMES[role]}
        </option>
      ))}
    </select>
  );
}

function afterLeaving(room: Room): string {
  if (room.kind === "private" && room.member_count < 2) return "You are the last member: nobody can come back to it.";
  const role = room.role === "owner" || room.role === "admin" ? ` You give up your role as ${room.role}.` : "";
  if (room.kind === "private") return `You come back only when a member adds you.${role}`;
  return `You can join again, as a member, unless you are banned.${role}`;
}

function Leave({ room, onClose }: { room: Room; onClose(): void }) {
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  async function leave(): Promise<void> {
    setBusy(true);
    try {
      await api.leaveRoom(room.id);
      onClose();
      forget(room.id);
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
      setBusy(false);
    }
  }

  return (
    <Dialog title={`Leave ${isolated(title(room))}?`} onClose={onClose}>
      <p>{afterLeaving(room)}</p>
      <p class="form-error" role="alert">
        {error}
      </p>
      <div class="dialog-actions">
        <button class="button" type="button" onClick={onClose}>
          Stay
        </button>
        <button
          class="button danger"
          type="button"
          data-testid="room-leave-confirm"
          disabled={busy}
          onClick={() => leave()}
        >
          Leave
        </button>
      </div>
    </Dialog>
  );
}
