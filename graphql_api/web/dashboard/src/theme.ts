// Light or dark: as the system says, unless the user says otherwise.
import { effect, signal } from '@preact/signals';

export type Theme = 'system' | 'light' | 'dark';

const KEPT = 'dropzone:theme';
const kept = localStorage.getItem(KEPT);
const system = matchMedia('(prefers-color-scheme: dark)');

export const theme = signal<Theme>(kept === 'light' || kept === 'dark' ? kept : 'system');
/** Goes up whenever the colours change: what is drawn by script must be drawn anew. */
export const colours = signal(0);

export function start(): void {
  system.addEventListener('change', () => (colours.value += 1));
  effect(() => {
    const chosen = theme.value;
    if (chosen === 'system') {
      localStorage.removeItem(KEPT);
      delete document.documentElement.dataset.theme;
    } else {
      localStorage.setItem(KEPT, chosen);
      document.documentElement.dataset.theme = chosen;
    }
    colours.value = colours.peek() + 1;
  });
}

/** The colour that a custom property has for an element, as a canvas takes it. */
export function colour(element: HTMLElement, name: string): string {
  const before = element.style.color;
  element.style.color = `var(${name})`;
  const value = getComputedStyle(element).color;
  element.style.color = before;
  return value;
}
