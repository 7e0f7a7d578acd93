/** The icons, drawn on a 24 grid. They are decoration: whoever uses one says its meaning in words. */

const PATHS = {
  back: "M15 5l-7 7 7 7",
  browse: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4.5 4.5",
  chat: "M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v7a2.5 2.5 0 0 1-2.5 2.5H11l-5 4v-4.2A2.5 2.5 0 0 1 4 13.5z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  clock: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM12 8v4.3l2.8 1.7",
  close: "M6 6l12 12M18 6L6 18",
  down: "M12 5v14M6 13l6 6 6-6",
  edit: "M4 20l1-4.5L16 4.5a1.8 1.8 0 0 1 2.6 0l.9.9a1.8 1.8 0 0 1 0 2.6L8.5 19z",
  leave: "M14 4h4.5A1.5 1.5 0 0 1 20 5.5v13a1.5 1.5 0 0 1-1.5 1.5H14M10 8l-4 4 4 4M6 12h9",
  lock: "M6.5 11h11a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  ban: "M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM6 6.2l12 11.8",
  more: "M6 11.2a.8.8 0 1 0 0 1.6.8.8 0 0 0 0-1.6zM12 11.2a.8.8 0 1 0 0 1.6.8.8 0 0 0 0-1.6zM18 11.2a.8.8 0 1 0 0 1.6.8.8 0 0 0 0-1.6z",
  pause: "M9 5v14M15 5v14",
  play: "M7.5 5l11 7-11 7z",
  server: "M5 5h14v5.5H5zM5 13.5h14V19H5zM8.5 7.8h.01M8.5 16.3h.01",
  people:
    "M9 5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM3 20c.3-3.6 2.7-5.5 6-5.5s5.7 1.9 6 5.5M16 5.3a3.5 3.5 0 0 1 0 6.4M17.5 14.8c2.1.7 3.3 2.5 3.5 5.2",
  plus: "M12 5v14M5 12h14",
  pulse: "M2.5 13h4l3-8 4.5 14.5 3-9 1.5 2.5h3",
  send: "M4.5 11.8L20 4.5l-5.5 15.5-3-6.7z",
  trash: "M5 7h14M10 4h4M7 7l.8 12a1 1 0 0 0 1 1h6.4a1 1 0 0 0 1-1L17 7",
  warning: "M12 4l9 15.5H3zM12 10v4.5M12 17v.3",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
