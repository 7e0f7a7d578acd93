/** Where the server is: beside the page, which a proxy may serve below a path (`https://host/chat/`). */
export const BASE = typeof document === "undefined" ? "/" : new URL(".", document.baseURI).pathname;

/** What several servers on one host must not share: names in storage and of locks. At the root they stay as they are. */
export const SCOPE = BASE === "/" ? "" : `${BASE}:`;
