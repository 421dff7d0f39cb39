// The API key. If the browser is on the server's machine, the page contains the local key. Otherwise the user enters a
// key, and the browser tab stores it. The key is sent in headers and in the first message of a WebSocket, never in an
// address.
import { computed, signal } from '@preact/signals';

const STORAGE_NAME = 'dropzone:api-key'; // GraphiQL's page uses the same name
const start = JSON.parse(document.getElementById('start')?.textContent ?? 'null') as {
  key: string | null;
  sample: string;
} | null;
const enteredKey = signal(sessionStorage.getItem(STORAGE_NAME));

/** The text of an example sample. */
export const example = start?.sample ?? '';
export const hasLocalKey = Boolean(start?.key);
export const key = computed(() => start?.key ?? enteredKey.value);
/** The reason why the server refused the key, or null. */
export const refusal = signal<string | null>(null);

export function enterKey(value: string): void {
  sessionStorage.setItem(STORAGE_NAME, value);
  refusal.value = null;
  enteredKey.value = value;
}

export function forgetKey(): void {
  sessionStorage.removeItem(STORAGE_NAME);
  refusal.value = null;
  enteredKey.value = null;
}
