// Texts that a screen reader announces. New results are announced as a number, at most every 20 seconds.
import { effect, signal } from '@preact/signals';
import { plural } from './format.ts';
import { arrived } from './results.ts';

const ARRIVALS_MILLISECONDS = 20_000;

export const announcement = signal('');

export function announce(text: string): void {
  announcement.value = text;
}

/** Announces new results while the page is open. */
export function start(): void {
  let announced = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    if (arrived.value === announced) return;
    timer ??= setTimeout(() => {
      timer = undefined;
      announce(`${plural(arrived.peek() - announced, 'new result')}.`);
      announced = arrived.peek();
    }, announced === 0 ? 1_000 : ARRIVALS_MILLISECONDS);
  });
}
