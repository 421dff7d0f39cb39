// Keeps the focus in a table whose rows leave while results arrive.
import type { RefObject } from 'preact';
import { useLayoutEffect } from 'preact/hooks';

/**
 * Moves the focus to the section of a table if the row with the focus leaves the table. Otherwise, the browser would
 * start at the top of the page again.
 */
export function useFocusOfRows(section: RefObject<HTMLElement | null>): void {
  const focused = document.activeElement;
  const isInside = section.current?.contains(focused) ?? false;
  useLayoutEffect(() => {
    if (isInside && !focused?.isConnected) section.current?.focus({ preventScroll: true });
  });
}
