import type { Outcome } from '../tracking.ts';

export const LABELS: Record<Outcome, string> = {
  PENDING: 'Pending',
  COMPUTED: 'Computed',
  FAILED: 'Failed',
  REJECTED: 'Rejected',
  SUPERSEDED: 'Superseded',
  DELETED: 'Deleted',
  NOT_STORED: 'Not stored',
};

export function State({ state }: { state: Outcome }) {
  return <span class={`state ${state.toLowerCase()}`}>{LABELS[state]}</span>;
}
