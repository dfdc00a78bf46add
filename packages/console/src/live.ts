/** Notices what happens in the registry while a page is open. */

import { useEffect, useState } from 'preact/hooks';
import { openEvents } from './api.js';
import { EventStreamParser } from './event-stream.js';
import { useSession } from './session.js';

/** The API sends a comment every 15 s. After so many ms without one, the connection is gone. */
const SILENCE_MS = 45_000;
const RECONNECT_MS = 5_000;
/** A burst of events is noticed once in so many ms. */
const NOTICE_MS = 2_000;

/**
 * Calls `onChange` after events, and says whether the stream is open. While nobody sees the page it
 * is not.
 *
 * @param onChange must stay the same function
 */
export function useLive(isOn: boolean, onChange: () => void): boolean {
  const [isOpen, setOpen] = useState(false);
  const { state } = useSession();
  const isVisible = useVisible();
  useEffect(() => {
    if (!isOn || !isVisible || state !== 'active') return undefined;
    const controller = new AbortController();
    const { signal } = controller;
    let lastId: string | undefined;
    let noticeTimer: ReturnType<typeof setTimeout> | undefined;
    let reconnectTimer: ReturnType<typeof setTimeout> | undefined;
    let silenceTimer: ReturnType<typeof setTimeout> | undefined;
    const notice = (): void => {
      noticeTimer ??= setTimeout(() => {
        noticeTimer = undefined;
        onChange();
      }, NOTICE_MS);
    };
    const follow = async (): Promise<void> => {
      try {
        const parser = new EventStreamParser();
        const reader = (await openEvents(lastId, signal)).getReader();
        setOpen(true);
        // What happened before the first event that comes was not noticed.
        if (lastId === undefined) notice();
        for (;;) {
          clearTimeout(silenceTimer);
          silenceTimer = setTimeout(() => void reader.cancel(), SILENCE_MS);
          const { done, value } = await reader.read();
          if (done) break;
          for (const { id } of parser.push(value)) {
            lastId = id ?? lastId;
            notice();
          }
        }
      } catch {
        // The server was restarted, or the network is gone: tried again below.
      }
      clearTimeout(silenceTimer);
      if (signal.aborted) return;
      setOpen(false);
      reconnectTimer = setTimeout(() => void follow(), RECONNECT_MS);
    };
    void follow();
    return () => {
      controller.abort();
      clearTimeout(noticeTimer);
      clearTimeout(reconnectTimer);
      clearTimeout(silenceTimer);
      setOpen(false);
    };
  }, [isOn, isVisible, state, onChange]);
  return isOpen;
}

/**
 * Whether somebody sees the page. A browser has six connections to a server: tabs that nobody sees
 * leave theirs to others.
 */
function useVisible(): boolean {
  const [isVisible, setVisible] = useState(() => document.visibilityState === 'visible');
  useEffect(() => {
    const look = (): void => setVisible(document.visibilityState === 'visible');
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, []);
  return isVisible;
}
