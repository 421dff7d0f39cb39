import { announcement } from '../announcements.ts';
import { showsResults } from '../filter.ts';
import { connection, fault } from '../results.ts';
import { refusal, session } from '../session.ts';
import { DropTarget } from './drop.tsx';
import { StateCounts } from './counts.tsx';
import { FilterForm, Presets } from './filter.tsx';
import { Header } from './header.tsx';
import { MeansPlot } from './means.tsx';
import { Problems } from './problems.tsx';
import { ResultsTable } from './results.tsx';
import { RetentionLine } from './retention.tsx';
import { SampleDetail } from './sample.tsx';
import { SamplesTable } from './samples.tsx';
import { SignIn } from './sign-in.tsx';
import { Uploads } from './uploads.tsx';

export function Page() {
  const isOpen = Boolean(session.value) && refusal.value === null;
  return (
    <>
      {isOpen && (
        <a class="skip" href="#results">
          Skip to the results
        </a>
      )}
      <Header isOpen={isOpen} />
      <main>
        {isOpen && <Dashboard />}
        {!isOpen && session.value !== undefined && <SignIn />}
        {session.value === undefined && refusal.value && (
          <p class="notice" role="alert">
            {refusal} The page opens when the server responds again.
          </p>
        )}
      </main>
      <p class="unseen" aria-live="polite" role="status">
        <span key={announcement.value.number}>{announcement.value.text}</span>
      </p>
    </>
  );
}

function Dashboard() {
  return (
    <DropTarget>
      <h1 class="unseen">Dropzone</h1>
      <StateCounts />
      <section class="card filters" aria-label="Displayed samples">
        <Presets />
        <FilterForm />
      </section>
      {connection.value.name === 'waiting' && (
        <p class="notice">
          {connection.value.reason} The page resumes after the last result when the server responds again.
        </p>
      )}
      {fault.value && (
        <p class="fault" role="alert">
          {fault}
        </p>
      )}
      <div class="columns">
        <div class="wide">
          {showsResults.value ? (
            <>
              <MeansPlot />
              <ResultsTable />
            </>
          ) : (
            <SamplesTable />
          )}
        </div>
        <div class="narrow">
          <Uploads />
          <SampleDetail />
          <Problems />
        </div>
      </div>
      <RetentionLine />
    </DropTarget>
  );
}
