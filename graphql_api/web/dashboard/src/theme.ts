// The theme: light, dark, or the theme of the operating system.
import { effect, signal } from '@preact/signals';

export type Theme = 'system' | 'light' | 'dark';

const STORAGE_NAME = 'dropzone:theme';
const stored = localStorage.getItem(STORAGE_NAME);
const system = matchMedia('(prefers-color-scheme: dark)');

export const theme = signal<Theme>(stored === 'light' || stored === 'dark' ? stored : 'system');
/** Increases when the colors change, so that canvases are drawn again. */
export const colorVersion = signal(0);

export function start(): void {
  system.addEventListener('change', () => (colorVersion.value += 1));
  effect(() => {
    const selected = theme.value;
    if (selected === 'system') {
      localStorage.removeItem(STORAGE_NAME);
      delete document.documentElement.dataset.theme;
    } else {
      localStorage.setItem(STORAGE_NAME, selected);
      document.documentElement.dataset.theme = selected;
    }
    colorVersion.value = colorVersion.peek() + 1;
  });
}

/** Returns the value of a color property for an element, in a form that a canvas accepts. */
export function resolveColor(element: HTMLElement, name: string): string {
  const before = element.style.color;
  element.style.color = `var(${name})`;
  const value = getComputedStyle(element).color;
  element.style.color = before;
  return value;
}
