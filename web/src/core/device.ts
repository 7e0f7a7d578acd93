/** What a program that signed in calls itself, for people. Pure. */

const BROWSERS: readonly [RegExp, string][] = [
  [/Edg\//, "Edge"],
  [/OPR\//, "Opera"],
  [/Firefox\//, "Firefox"],
  [/Chrome\/|CriOS\//, "Chrome"],
  [/Safari\//, "Safari"],
];
const SYSTEMS: readonly [RegExp, string][] = [
  [/Android/, "Android"],
  [/iPhone|iPad/, "iOS"],
  [/Windows/, "Windows"],
  [/Mac OS X/, "macOS"],
  [/Linux|X11/, "Linux"],
];

/** "Firefox on Linux"; other programs by the first word that they say of themselves. */
export function device(agent: string): string {
  const browser = BROWSERS.find(([mark]) => mark.test(agent))?.[1];
  if (!browser) return agent.split(/[\s/(]/)[0] || "An unknown program";
  const system = SYSTEMS.find(([mark]) => mark.test(agent))?.[1];
  return system ? `${browser} on ${system}` : browser;
}
