// For how long samples, results and hourly statistics are kept. The page reads it when it starts to receive results.
import { signal } from '@preact/signals';
import { integer } from '../format.ts';

export interface Retention {
  sampleDays: number | null;
  resultDays: number | null;
  hourly: { days: number | null } | null;
}

export const retention = signal<Retention | null>(null);

export function RetentionLine() {
  return (
    <p class="hint retention">
      All times are in UTC. {retention.value && <Kept retention={retention.value} />}
    </p>
  );
}

function Kept({ retention: { sampleDays, resultDays, hourly } }: { retention: Retention }) {
  return (
    <>
      Samples submitted now are kept {duration(sampleDays)}, their results {duration(resultDays)}
      {hourly && `, their hourly statistics ${duration(hourly.days)}`}.
    </>
  );
}

function duration(days: number | null): string {
  if (days === null) return 'forever';
  return days === 1 ? 'for 1 day' : `for ${integer(days)} days`;
}
