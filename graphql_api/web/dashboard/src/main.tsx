import { render } from 'preact';
import { start as startAnnouncements } from './announcements.ts';
import { Page } from './components/page.tsx';
import { start as startResults } from './results.ts';
import { start as startSelection } from './selection.ts';
import { open as openSession } from './session.ts';
import { start as startStates } from './states.ts';
import { start as startTheme } from './theme.ts';

startTheme();
void openSession();
startResults();
startSelection();
startStates();
startAnnouncements();
render(<Page />, document.getElementById('page') as HTMLElement);
