// Texts that a screen reader announces. New results are announced as a number, at most every 20 seconds.
import { computed, effect, signal, untracked } from '@preact/signals';
import { isFiltered, showsResults } from './filter.ts';
import { plural } from './format.ts';
import { arrived, isLoaded, total } from './results.ts';
import { samples } from './samples.ts';

const ARRIVALS_MILLISECONDS = 20_000;

/** The last text, and its number: a screen reader announces a text again only if its element is another one. */
export const announcement = signal({ text: '', number: 0 });

export function announce(text: string): void {
  announcement.value = { text, number: announcement.peek().number + 1 };
}

/** Announces new results while the page is open, and how many results or samples a new filter has found. */
export function start(): void {
  const isFound = computed(() => (showsResults.value ? isLoaded.value : samples.value !== null));
  let isOpened = false;
  effect(() => {
    if (isFound.value && isOpened) untracked(() => announce(found()));
    isOpened ||= isFound.value;
  });
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

function found(): string {
  const items = showsResults.value ? plural(total.value, 'result') : plural(samples.value?.length ?? 0, 'sample');
  return `${items} ${isFiltered.value ? 'with this filter' : 'without a filter'}.`;
}
