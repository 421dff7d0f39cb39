import { filter, newestFirst } from '../filter.ts';
import { graphiql } from '../graphiql.ts';
import { resultsQuery } from '../queries.ts';
import { connection } from '../results.ts';
import { session, signOut } from '../session.ts';
import { theme, type Theme } from '../theme.ts';
import { LinkIcon, Logo, MoonIcon, ScreenIcon, SunIcon } from './icons.tsx';

const CONNECTIONS = { connecting: 'Connecting', live: 'Live', waiting: 'Reconnecting' } as const;
const THEMES: Record<Theme, { next: Theme; icon: () => preact.JSX.Element; label: string }> = {
  system: { next: 'light', icon: ScreenIcon, label: 'system' },
  light: { next: 'dark', icon: SunIcon, label: 'light' },
  dark: { next: 'system', icon: MoonIcon, label: 'dark' },
};

export function Header({ isOpen }: { isOpen: boolean }) {
  const address = graphiql(resultsQuery, { filter: filter.value, orderBy: newestFirst.value, first: 50 });
  return (
    <header>
      <div class="brand">
        <Logo />
        <span class="brand-name">Dropzone</span>
      </div>
      {isOpen && <Connection />}
      <nav aria-label="Page">
        {isOpen && session.value && (
          <>
            <span class="hint roomy submitter" aria-hidden="true">
              {session.value.submitter}
            </span>
            <button type="button" class="quiet forget" title={`Signed in as ${session.value.submitter}`} onClick={signOut}>
              Sign out
            </button>
          </>
        )}
        <a
          class="button quiet"
          href={address}
          aria-label="Open in GraphiQL"
          title="Open the query for the displayed results in GraphiQL"
        >
          <LinkIcon />
          <span class="roomy">Open in GraphiQL</span>
        </a>
        <ThemeButton />
      </nav>
    </header>
  );
}

function Connection() {
  const { name, ...more } = connection.value;
  return (
    <p class={`connection ${name}`} role="status" title={'reason' in more ? more.reason : undefined}>
      <span class="dot" aria-hidden="true" />
      {CONNECTIONS[name]}
    </p>
  );
}

function ThemeButton() {
  const { next, icon: Icon, label } = THEMES[theme.value];
  return (
    <button
      type="button"
      class="quiet square"
      aria-label={`Theme: ${label}. Change to ${THEMES[next].label}.`}
      title={`Theme: ${label}`}
      onClick={() => (theme.value = next)}
    >
      <Icon />
    </button>
  );
}
