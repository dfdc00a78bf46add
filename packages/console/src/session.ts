/**
 * Who is signed in. The cookie is the browser's, the secret is in sessionStorage: a request needs
 * both. Nothing else of the session is kept. A sign-in at a provider has such a secret too.
 *
 * A browser has one cookie for all of its tabs. So they tell each other the secret that goes with
 * it, over a channel that no other origin can listen to.
 */

import { Store, useStore } from './store.js';
import { pageOf } from './url-state.js';

export interface User {
  readonly user: string;
  readonly role: string;
  /** `oidc`: at the sign-in provider. */
  readonly sign_in: 'password' | 'oidc';
  readonly scopes: readonly string[];
}

/**
 * `ended`: the server does not know the session any more. The page stays below the sign-in dialog,
 * so that no typed text is lost.
 */
export type Session =
  | { readonly state: 'signed-out' }
  | { readonly state: 'active'; readonly user: User | undefined }
  | { readonly state: 'ended'; readonly user: User | undefined };

const KEY = 'latchkey.session';
const CHANNEL = 'latchkey.session';
const PROVIDER_KEY = 'latchkey.provider-sign-in';
const PROVIDER_PAGE_KEY = 'latchkey.provider-page';
const session = new Store<Session>(readSecret() === null ? { state: 'signed-out' } : { state: 'active', user: undefined });
/** Counts sign-ins and reloads: what it is loaded under is loaded again when it changes. */
const generation = new Store(0);

interface Begun {
  readonly secret: string;
  readonly user: User;
}

/** Between the tabs of a browser. */
type Message =
  | { readonly kind: 'asked' }
  | ({ readonly kind: 'told' } & Begun)
  | ({ readonly kind: 'begun' } & Begun)
  | { readonly kind: 'left'; readonly secret: string };

const tabs = new BroadcastChannel(CHANNEL);

function tell(message: Message): void {
  // Only windows have a target origin; a channel has one origin.
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  tabs.postMessage(message);
}

/** Goes on with the session of another tab, if one has a session. */
export function followTabs(): void {
  tabs.addEventListener('message', ({ data }: MessageEvent<Message>) => {
    const secret = readSecret();
    const { value } = session;
    switch (data.kind) {
      case 'asked':
        if (value.state === 'active' && value.user !== undefined && secret !== null)
          tell({ kind: 'told', secret, user: value.user });
        return;
      case 'told':
        if (value.state !== 'active') follow(data);
        return;
      case 'begun':
        follow(data);
        return;
      case 'left':
        endSession(data.secret);
    }
  });
  if (session.value.state === 'signed-out') tell({ kind: 'asked' });
}

/** The browser has the cookie of that session now. */
function follow({ secret, user }: Begun): void {
  const { value } = session;
  const before = value.state === 'signed-out' ? undefined : value.user;
  // What somebody typed here is not for the other person.
  if (before !== undefined && before.user !== user.user) return endSession(readSecret());
  if (readSecret() !== secret) keepSession({ secret, user });
}

function keepSession({ secret, user }: Begun): void {
  sessionStorage.setItem(KEY, secret);
  session.set({ state: 'active', user });
  reloadAll();
}

/** Other services of this host may set its cookies, whatever their port, but not this. */
export function keepProviderSecret(secret: string): void {
  sessionStorage.setItem(PROVIDER_KEY, secret);
  sessionStorage.setItem(PROVIDER_PAGE_KEY, location.pathname + location.search);
}

/** The page that was open when this tab began a sign-in at the provider. */
export function takeProviderPage(): string {
  const url = sessionStorage.getItem(PROVIDER_PAGE_KEY) ?? '/';
  sessionStorage.removeItem(PROVIDER_PAGE_KEY);
  return pageOf(url.split('?')[0] ?? '') === undefined ? '/' : url;
}

/** Returns an empty text if this tab began no sign-in at the provider. */
export function takeProviderSecret(): string {
  const secret = sessionStorage.getItem(PROVIDER_KEY) ?? '';
  sessionStorage.removeItem(PROVIDER_KEY);
  return secret;
}

export function readSecret(): string | null {
  return sessionStorage.getItem(KEY);
}

export function useSession(): Session {
  return useStore(session);
}

export function useGeneration(): number {
  return useStore(generation);
}

export function reloadAll(): void {
  generation.set(generation.value + 1);
}

export function beginSession(secret: string, user: User): void {
  keepSession({ secret, user });
  tell({ kind: 'begun', secret, user });
}

/** Returns `undefined` until the server has said who it is. */
export function useUser(): User | undefined {
  const current = useSession();
  return current.state === 'signed-out' ? undefined : current.user;
}

/** Returns true if the user has a scope, by the server's last answer. The server checks again. */
export function useMay(scope: string): boolean {
  return useUser()?.scopes.includes(scope) === true;
}

/** Who has the session, as the server says it; the role may have changed since the sign-in. */
export function setUser(user: User): void {
  if (session.value.state === 'active') session.set({ state: 'active', user });
}

/** The server answered 401. Says nothing if the page is signed out, or if another session began. */
export function endSession(secret: string | null): void {
  if (session.value.state !== 'active' || readSecret() !== secret) return;
  const { user } = session.value;
  sessionStorage.removeItem(KEY);
  session.set({ state: 'ended', user });
}

/** In all tabs. */
export function signOut(): void {
  const secret = readSecret();
  if (secret !== null) tell({ kind: 'left', secret });
  forgetSession();
}

/** In this tab. */
export function forgetSession(): void {
  sessionStorage.removeItem(KEY);
  session.set({ state: 'signed-out' });
}
