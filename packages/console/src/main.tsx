/** Starts the console in the page that loaded it. */

import { render } from 'preact';
import { App } from './app.js';
import { keepFocus } from './focus-keeper.js';
import { startNavigation } from './navigation.js';
import { startClock } from './parts/time.js';
import { applyPreferences } from './preferences.js';
import { followTabs, forgetSession } from './session.js';
import { linkTokenOf, providerAnswerOf } from './url-state.js';

const linkToken = linkTokenOf(location.pathname, location.hash);
const providerAnswer = providerAnswerOf(location.pathname, location.search);
// A token stays in no history, and in no URL that is copied.
if (providerAnswer !== undefined) history.replaceState(null, '', location.pathname);
else if (location.hash !== '') history.replaceState(null, '', location.pathname + location.search);
// A link is for somebody who has no password yet, whoever was signed in here.
if (linkToken !== undefined) forgetSession();
else followTabs();

applyPreferences();
startNavigation();
startClock();
keepFocus();
const root = document.getElementById('console');
if (root !== null) render(<App linkToken={linkToken} providerAnswer={providerAnswer} />, root);
