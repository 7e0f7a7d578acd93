/** localStorage that never throws: where it is forbidden or full, things last as long as the page. */

const fallback = new Map<string, string>();

export function get(key: string): string | null {
  try {
    return localStorage.getItem(key) ?? fallback.get(key) ?? null;
  } catch {
    return fallback.get(key) ?? null; // forbidden by the browser's settings
  }
}

export function set(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
    fallback.delete(key);
  } catch {
    fallback.set(key, value); // forbidden, or full
  }
}

export function remove(key: string): void {
  fallback.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    return; // forbidden: there is nothing to remove
  }
}

/** The keys that begin with `prefix`. */
export function keys(prefix: string): readonly string[] {
  const found = new Set(fallback.keys());
  try {
    for (let index = 0; index < localStorage.length; index += 1) found.add(localStorage.key(index) ?? "");
  } catch {
    return [...found].filter((key) => key.startsWith(prefix)); // forbidden by the browser's settings
  }
  return [...found].filter((key) => key.startsWith(prefix));
}

/** Tell when another tab changes `key`. */
export function watch(key: string, changed: () => void): void {
  addEventListener("storage", (event) => {
    if (event.key === key || event.key === null) changed();
  });
}
