// The current time of the server, which determines the times of submissions and results. The clock of the browser can
// be wrong, and it can be corrected while the page is open.
import { signal } from '@preact/signals';

const TOLERANCE_MILLISECONDS = 60_000; // the header `Date` has whole seconds, and a response takes time to arrive

/** The difference between the browser's clock and the server's clock in milliseconds. */
const difference = signal(0);

/** Returns the time of the server in milliseconds. */
export const now = (): number => Date.now() - difference.value;

/** Compares the clocks at each response of the server. */
export function compareClocks(response: Response): void {
  const latest = Date.now() - Date.parse(response.headers.get('date') ?? '');
  if (Math.abs(latest - difference.peek()) > TOLERANCE_MILLISECONDS) difference.value = latest;
}
