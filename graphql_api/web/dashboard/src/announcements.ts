// What a screen reader is told without being asked. Results that stream in are told seldom, and by their number.
import { effect, signal } from '@preact/signals';
import { plural } from './format.ts';
import { arrived } from './results.ts';

const ARRIVALS_MILLISECONDS = 20_000;

export const announcement = signal('');

export function announce(text: string): void {
  announcement.value = text;
}

/** Tells how many results arrived, for as long as the page is open. */
export function start(): void {
  let told = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    if (arrived.value === told) return;
    timer ??= setTimeout(() => {
      timer = undefined;
      announce(`${plural(arrived.peek() - told, 'new result')}.`);
      told = arrived.peek();
    }, told === 0 ? 1_000 : ARRIVALS_MILLISECONDS);
  });
}
