/** The pause before reconnect number `attempt` (from 0), milliseconds: doubling to 15 s, with jitter so that a crowd spreads. */
export function backoffMs(attempt: number, random: number): number {
  const ceiling = Math.min(15_000, 500 * 2 ** Math.min(attempt, 10));
  return Math.round(ceiling * (0.5 + random / 2));
}
