// The deletion of a sample. It needs the scope `admin`.
import { batch, computed } from '@preact/signals';
import { announce } from './announcements.ts';
import { shortId } from './format.ts';
import { remove } from './results.ts';
import { selectedId } from './selection.ts';
import { send, ServerError } from './server.ts';
import { session } from './session.ts';

export const isAllowed = computed(() => session.value?.scopes.includes('admin') ?? false);

/** Deletes a sample and its result. Throws `ServerError`. */
export async function deleteSample(id: string, reason: string): Promise<void> {
  try {
    await send('DELETE', `/samples/${id}?${new URLSearchParams({ reason })}`);
  } catch (error) {
    if (!(error instanceof ServerError && error.code === 'NOT_FOUND')) throw error; // it may be deleted already
  }
  batch(() => {
    if (selectedId.value === id) selectedId.value = null;
    remove(id);
  });
  announce(`The sample ${shortId(id)} is deleted.`);
}
