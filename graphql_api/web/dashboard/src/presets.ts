// Ranges of time that end now. The range moves while the page is open.
import { signal } from '@preact/signals';
import { now } from './clock.ts';

const HOUR = 3_600_000;
const CHECK_MILLISECONDS = 60_000;

export const PRESETS = [
  { name: 'hour', label: 'Last hour', milliseconds: HOUR },
  { name: 'day', label: 'Last day', milliseconds: 24 * HOUR },
  { name: 'week', label: 'Last week', milliseconds: 7 * 24 * HOUR },
] as const;

/** The number of times that a range has moved forward. */
const moves = signal(0);
let end = 0; // the time at which the current range ended when it was made

/** Moves the preset ranges forward while the page is open, each by a quarter of its length. */
export function start(selected: () => string | undefined): void {
  setInterval(() => {
    const preset = PRESETS.find(({ name }) => name === selected());
    if (preset && now() - end > preset.milliseconds / 4) moves.value += 1;
  }, CHECK_MILLISECONDS);
}

/**
 * Returns the range of a preset. It ends later than now, so that results which arrive meanwhile are in it, and earlier
 * than the time stamps of a sensor with a wrong clock.
 */
export function rangeOf(name: string): { gte: string; lt: string } | null {
  const preset = PRESETS.find((each) => each.name === name);
  if (!preset) return null;
  void moves.value;
  end = now();
  const iso = (time: number) => new Date(time).toISOString();
  return { gte: iso(end - preset.milliseconds), lt: iso(end + preset.milliseconds / 2) };
}
