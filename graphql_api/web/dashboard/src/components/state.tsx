import type { Outcome } from '../tracking.ts';

const WORDS: Record<Outcome, string> = {
  PENDING: 'Pending',
  COMPUTED: 'Computed',
  FAILED: 'Failed',
  REJECTED: 'Rejected',
  NOT_STORED: 'Not stored',
};

export function State({ state }: { state: Outcome }) {
  return <span class={`state ${state.toLowerCase()}`}>{WORDS[state]}</span>;
}
