import { beforeEach, describe, expect, it, vi } from "vitest";

const USER = { id: "u", username: "ada", display_name: "Ada" };

/** A server that knows one refresh token at a time, as ours does. */
class Server {
  valid = "r0";
  refreshes: string[] = [];
  loggedOut: string[] = [];
  logins: unknown[] = [];
  changes: string[] = [];
  lifeS = 900;
  /** What happens while a refresh is on its way. */
  meanwhile: () => void = () => undefined;
  status = 200;

  fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const body = JSON.parse(String(init.body ?? "{}"));
    if (url.endsWith("/auth/logout")) {
      this.loggedOut.push(body.refresh_token);
      return new Response(null, { status: 204 });
    }
    if (url.endsWith("/auth/login")) {
      this.logins.push(body);
      this.meanwhile();
      return this.signedIn("r0");
    }
    if (url.endsWith("/me/password")) {
      this.changes.push(String((init.headers as Record<string, string>).Authorization));
      this.meanwhile();
      return this.signedIn("changed");
    }
    this.refreshes.push(body.refresh_token);
    this.meanwhile();
    if (this.status === 0) throw new TypeError("Failed to fetch");
    if (body.refresh_token !== this.valid) return Server.refuse("refresh_token_invalid");
    this.valid = `r${this.refreshes.length}`;
    return this.signedIn(this.valid);
  };

  signedIn(token: string): Response {
    this.valid = token;
    return Response.json({
      user: USER,
      access_token: `a-${token}`,
      refresh_token: token,
      expires_in: this.lifeS,
    });
  }

  static refuse(code: string): Response {
    return Response.json({ code, detail: "", retryable: false }, { status: 401 });
  }
}

/** A page of its own: modules keep the tab's state. */
async function tab() {
  vi.resetModules();
  return {
    session: await import("../src/state/session"),
    storage: await import("../src/state/storage"),
  };
}

function stored(storage: { get(key: string): string | null }): string | undefined {
  return JSON.parse(storage.get("realtime.session") ?? "{}").refresh_token;
}

let server: Server;

beforeEach(() => {
  const kept = new Map<string, string>();
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
    removeItem: (key: string) => kept.delete(key),
  });
  server = new Server();
  vi.stubGlobal("fetch", server.fetch);
});

describe("a session", () => {
  it("gives the token it has, and asks for a new one only when that runs out", async () => {
    const { session, storage } = await tab();
    await session.signIn("ada", "correct horse");
    expect(await session.accessToken()).toBe("a-r0");
    expect(server.refreshes).toEqual([]);
    session.reject("a-r0");
    expect(await session.accessToken()).toBe("a-r1");
    expect(stored(storage)).toBe("r1");
  });

  it("asks once when many want a token at the same time", async () => {
    server.lifeS = 1;
    const { session } = await tab();
    await session.signIn("ada", "correct horse");
    const all = await Promise.all([session.accessToken(), session.accessToken(), session.accessToken()]);
    expect(new Set(all).size).toBe(1);
    expect(server.refreshes).toEqual(["r0"]);
  });

  it("uses the token of another tab that was faster", async () => {
    const { session, storage } = await tab();
    await session.signIn("ada", "correct horse");
    session.reject("a-r0");
    server.meanwhile = () => {
      server.meanwhile = () => undefined;
      server.valid = "other-tab";
      storage.set("realtime.session", JSON.stringify({ user: USER, refresh_token: "other-tab" }));
    };
    expect(await session.accessToken()).toBe("a-r2");
    expect(server.refreshes).toEqual(["r0", "other-tab"]);
    expect(session.user.value).toEqual(USER);
  });

  it("ends with a reason when the refresh token is refused", async () => {
    const { session, storage } = await tab();
    await session.signIn("ada", "correct horse");
    session.reject("a-r0");
    server.valid = "gone";
    await expect(session.accessToken()).rejects.toMatchObject({ code: "refresh_token_invalid" });
    expect(session.user.value).toBeNull();
    expect(session.notice.value).toBe("refresh_token_invalid");
    expect(stored(storage)).toBeUndefined();
  });

  it("lives on when nobody answers, and tries the same token again", async () => {
    const { session } = await tab();
    await session.signIn("ada", "correct horse");
    session.reject("a-r0");
    server.status = 0;
    await expect(session.accessToken()).rejects.toMatchObject({ code: "network", retryable: true });
    expect(session.user.value).toEqual(USER);
    server.status = 200;
    await session.accessToken();
    expect(server.refreshes).toEqual(["r0", "r0"]);
  });

  it("does not come back when the person signs out while a token is on its way", async () => {
    const { session, storage } = await tab();
    await session.signIn("ada", "correct horse");
    session.reject("a-r0");
    server.meanwhile = () => session.signOut();
    await expect(session.accessToken()).rejects.toMatchObject({ code: "session_ended" });
    expect(session.user.value).toBeNull();
    expect(session.notice.value).toBeNull();
    expect(stored(storage)).toBeUndefined();
    expect(server.loggedOut).toEqual(["r0", "r1"]);
  });
});

describe("a changed password", () => {
  it("waits for a refresh that is on its way, and no token is used after its replacement", async () => {
    const { session, storage } = await tab();
    await session.signIn("ada", "correct horse");
    session.reject("a-r0");
    const refresh = session.accessToken();
    const change = session.changePassword("correct horse", "battery staple");
    await Promise.all([refresh, change]);
    expect(server.refreshes).toEqual(["r0"]);
    expect(server.changes).toEqual(["Bearer a-r1"]);
    expect(stored(storage)).toBe("changed");
    expect(session.user.value).toEqual(USER);
  });

  it("does not sign in again when the person signed out before the answer came", async () => {
    const { session, storage } = await tab();
    await session.signIn("ada", "correct horse");
    server.meanwhile = () => session.signOut();
    await expect(session.changePassword("a", "b")).rejects.toMatchObject({ code: "session_ended" });
    expect(session.user.value).toBeNull();
    expect(stored(storage)).toBeUndefined();
    expect(server.loggedOut).toEqual(["r0", "changed"]);
  });
});

describe("a sign-in", () => {
  it("brings a new password where the one it has works once", async () => {
    const { session } = await tab();
    await session.signIn("ada", "shown once", "my own");
    expect(server.logins).toEqual([{ username: "ada", password: "shown once", new_password: "my own" }]);
  });

  it("of another tab stays when the answer to this one comes later", async () => {
    const { session, storage } = await tab();
    const other = { user: { ...USER, id: "other" }, refresh_token: "theirs" };
    server.meanwhile = () => {
      storage.set("realtime.session", JSON.stringify(other));
      session.user.value = other.user;
    };
    await session.signIn("ada", "correct horse");
    expect(stored(storage)).toBe("theirs");
    expect(session.user.value?.id).toBe("other");
    expect(server.loggedOut).toEqual(["r0"]);
  });
});

describe("the lock between tabs", () => {
  it("lets one work at a time, with the browser's locks and without", async () => {
    for (const locks of [true, false]) {
      if (!locks) vi.stubGlobal("navigator", {});
      const { exclusively } = await import("../src/state/lock");
      const log: string[] = [];
      const work = (name: string) => async () => {
        log.push(`${name} begins`);
        await new Promise((resolve) => setTimeout(resolve, 20));
        log.push(`${name} ends`);
      };
      await Promise.all([exclusively("test", work("one")), exclusively("test", work("two"))]);
      const [first, second] = log[0] === "one begins" ? ["one", "two"] : ["two", "one"];
      expect(log).toEqual([`${first} begins`, `${first} ends`, `${second} begins`, `${second} ends`]);
      vi.unstubAllGlobals();
    }
  });

  it("is given back after a failure", async () => {
    const { exclusively } = await import("../src/state/lock");
    await expect(exclusively("test", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await exclusively("test", async () => "yes")).toBe("yes");
  });
});
