import { useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useEffect, useState } from 'react';
import { NavLink, Outlet, useLocation } from 'react-router';
import { ApiError, storedKey } from '../api/client';
import { LiveProvider, useLive } from '../api/live';
import { useMe } from '../api/queries';
import { Failure, Loading } from '../parts/states';
import { ownZone, useZone } from './zone';

const PLACES = [
  ['/', 'Overview'],
  ['/days', 'Days'],
  ['/genres', 'Genres'],
  ['/runs', 'Runs'],
] as const;

/** What every page stands in: who asks is known before anything else is asked. */
export function Layout({ broken = false }: { readonly broken?: boolean }) {
  const me = useMe();
  const refused = me.error instanceof ApiError && (me.error.status === 401 || me.error.status === 403);
  return (
    <>
      <a className="skip" href="#main">
        Skip to content
      </a>
      <header className="bar">
        <span className="brand">
          <img src="/icon.svg" alt="" width="22" height="22" /> Music pipeline
        </span>
        <nav aria-label="Places">
          {PLACES.map(([to, name]) => (
            <NavLink key={to} to={to} end={to === '/'}>
              {name}
            </NavLink>
          ))}
          <a href="/docs/">API</a>
        </nav>
        <ZoneSelect kpiZone={me.data?.time_zone} />
      </header>
      <main id="main" tabIndex={-1}>
        {broken ? (
          <Failure error={new Error('This page has a fault. Reload it; if that does not help, tell who runs it.')} />
        ) : refused ? (
          <SignIn why={me.error?.message ?? ''} />
        ) : me.data !== undefined ? (
          <LiveProvider>
            <Connection />
            <Announce />
            <Outlet />
          </LiveProvider>
        ) : me.error !== null ? (
          <Failure error={me.error} retry={() => void me.refetch()} />
        ) : (
          <Loading what="the API" />
        )}
      </main>
      <footer>
        {me.data === undefined ? '' : `${me.data.name}, ${me.data.role}. Days are days of ${me.data.time_zone}.`}{' '}
        {storedKey.get() === '' ? null : (
          <button
            type="button"
            className="link"
            onClick={() => {
              storedKey.set('');
              location.reload();
            }}
          >
            Sign out
          </button>
        )}
      </footer>
    </>
  );
}

function ZoneSelect({ kpiZone = 'UTC' }: { readonly kpiZone?: string }) {
  const { zone, choose } = useZone();
  const zones = [...new Set(['UTC', kpiZone, ownZone(), zone])];
  return (
    <label className="zone">
      Times in{' '}
      <select value={zone} onChange={({ target }) => choose(target.value)}>
        {zones.map((each) => (
          <option key={each}>{each}</option>
        ))}
      </select>
    </label>
  );
}

/** Says when what is shown is no longer live. */
function Connection() {
  const { connected, runs, away } = useLive();
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(!connected), 3_000);
    return () => clearTimeout(timer);
  }, [connected]);
  const text =
    away !== undefined
      ? 'A store does not answer. What is shown is as it was; it goes on by itself.'
      : late && !connected
        ? runs === undefined
          ? 'Waiting for live news …'
          : 'The connection is lost. What is shown is as it was; it goes on by itself.'
        : undefined;
  return (
    <div role="status" className={text === undefined ? undefined : 'notice warn'}>
      {text}
    </div>
  );
}

/** Moves the focus to a new page, and names it, as a reload would. */
function Announce() {
  const { pathname } = useLocation();
  const [first, setFirst] = useState(pathname);
  useEffect(() => {
    if (pathname === first) return;
    setFirst('');
    document.getElementById('main')?.focus({ preventScroll: true });
    window.scrollTo({ top: 0 });
  }, [pathname, first]);
  return null;
}

function SignIn({ why }: { readonly why: string }) {
  const queries = useQueryClient();
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    storedKey.set(String(new FormData(event.currentTarget).get('key') ?? '').trim());
    void queries.invalidateQueries();
  };
  return (
    <section className="narrow">
      <h1>Sign in</h1>
      <p>{storedKey.get() === '' ? 'This API is for those who have a key or a token.' : why}</p>
      <form onSubmit={submit}>
        <label>
          Key or token
          <input name="key" type="password" autoComplete="off" required minLength={8} maxLength={8192} />
        </label>
        <button type="submit">Sign in</button>
      </form>
      <p className="faint">It stays in this tab, until it is closed.</p>
    </section>
  );
}
