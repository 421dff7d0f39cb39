// What the page was started with, and the API key: handed over with the page on the server's own machine, otherwise
// given by the user and kept for this browser tab. It travels in headers and in the first message of a WebSocket, never in an address.
import { computed, signal } from '@preact/signals';

const KEPT = 'dropzone:api-key'; // GraphiQL's page keeps it under the same name
const start = JSON.parse(document.getElementById('start')?.textContent ?? 'null') as {
  key: string | null;
  sample: string;
} | null;
const given = signal(sessionStorage.getItem(KEPT));

/** A sample to begin with. */
export const example = start?.sample ?? '';
export const isHandedOver = Boolean(start?.key);
export const key = computed(() => start?.key ?? given.value);
/** Why the server refused the key, or null. */
export const refusal = signal<string | null>(null);

export function useKey(value: string): void {
  sessionStorage.setItem(KEPT, value);
  refusal.value = null;
  given.value = value;
}

export function forgetKey(): void {
  sessionStorage.removeItem(KEPT);
  refusal.value = null;
  given.value = null;
}
