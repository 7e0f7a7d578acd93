/** A sentence for people for every error code that the client may meet. Unknown codes show what the server said. */

const SENTENCES: Record<string, string> = {
  invalid_credentials: "That username and password do not match. Check both and try again.",
  username_taken: "That username is taken. Choose another one.",
  rate_limited: "Too many attempts. Wait a moment and try again.",
  overloaded: "The server is busy right now. Try again in a moment.",
  unavailable: "The server cannot reach its database. Try again in a moment.",
  draining: "The server is restarting. Try again in a moment.",
  network: "The server cannot be reached. Check your connection and try again.",
  origin_refused:
    "The server refuses pages from this address. Its operator must pass the Host header on, or name the address in ROOMWIRE_CORS_ORIGINS.",
  no_answer: "The server did not answer.",
  session_ended: "You were signed out on this device. Sign in to go on.",
  refresh_token_invalid: "Your sign-in has expired. Sign in to go on.",
  signed_out_elsewhere: "You signed out in another window.",
  token_invalid: "Your sign-in is no longer valid. Sign in to go on.",
  room_not_found: "This room does not exist, or you may not see it.",
  not_a_member: "You are not a member of this room.",
  not_subscribed: "The connection to this room is not ready yet.",
  forbidden: "Your role in this room does not allow that.",
  last_owner: "A room needs at least one owner. Make another member an owner first.",
  message_not_found: "This message no longer exists.",
  member_not_found: "This user is no longer a member of the room.",
  wrong_password: "The current password is incorrect.",
  admin_only: "Only administrators of the server may see this.",
  user_not_found: "There is no such user.",
  payload_too_large: "This is too long to send.",
  too_many_connections: "Too many windows are open. Close one to go on.",
  room_closed: "This chat is closed: one of you closed it or blocked the other.",
  not_addable: "This user does not let you add them.",
  client_id_conflict: "This message could not be sent again. Copy its text into a new one.",
};

export function sentence(error: { code: string; message?: string; retry_after_ms?: number }): string {
  const seconds = Math.ceil((error.retry_after_ms ?? 0) / 1000);
  if (error.code === "rate_limited" && seconds > 1) return `Too many attempts. Try again in ${duration(seconds)}.`;
  return SENTENCES[error.code] || error.message || "Something went wrong. Try again.";
}

function duration(seconds: number): string {
  return seconds < 90 ? `${seconds} seconds` : `${Math.ceil(seconds / 60)} minutes`;
}
