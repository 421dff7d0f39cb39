import { duration, shortId, time } from '../format.ts';
import { selectedId } from '../selection.ts';
import type { Problem, TimelineEntry, TimelineEvent } from '../types.ts';

const LABELS: Record<TimelineEvent, string> = {
  STORED: 'Stored',
  REJECTED: 'Stored as rejected',
  ATTEMPTS_FAILED: 'Attempts failed',
  RECOMPUTATION_REQUESTED: 'Recomputation requested',
  COMPUTED: 'Computed',
  RECOMPUTED: 'Recomputed',
  FAILED: 'Failed',
  SUPERSEDED: 'Superseded',
};

interface TimelineProps {
  entries: readonly TimelineEntry[];
  problems: readonly Problem[]; // the page displays them elsewhere, so the timeline does not repeat them
}

/** What happened to a sample, the oldest event first, with the time since the previous event. */
export function Timeline({ entries, problems }: TimelineProps) {
  const isListed = (text: string) => problems.some(({ message }) => message === text);
  return (
    <section class="timeline" aria-labelledby="timeline-title">
      <h3 id="timeline-title">Timeline</h3>
      <ol>
        {entries.map(({ at, event, detail }, index) => {
          const previous = entries[index - 1];
          return (
            <li key={event} class={event.toLowerCase()}>
              <span class="dot" aria-hidden="true" />
              <strong>{LABELS[event]}</strong>
              {previous && <span class="hint">{duration(Date.parse(at) - Date.parse(previous.at))} later</span>}
              <time class="hint" dateTime={at}>
                {time(at)}
              </time>
              {detail && event === 'SUPERSEDED' && (
                <button type="button" class="link" title={detail} onClick={() => (selectedId.value = detail)}>
                  <span class="unseen">Show sample </span>
                  {shortId(detail)}
                </button>
              )}
              {detail && event !== 'SUPERSEDED' && !isListed(detail) && <p class="problem">{detail}</p>}
            </li>
          );
        })}
      </ol>
    </section>
  );
}
