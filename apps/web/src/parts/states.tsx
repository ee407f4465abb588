import type { UseQueryResult } from '@tanstack/react-query';
import { type ReactNode, useEffect } from 'react';
import { ApiError } from '../api/client';

export function Waiting({ children }: { readonly children: ReactNode }) {
  return (
    <p className="state" role="status">
      <span className="spinner" aria-hidden="true" /> {children}
    </p>
  );
}

export function Loading({ what }: { readonly what: string }) {
  return <Waiting>Asking for {what} …</Waiting>;
}

/** Whether what was asked for is not there. */
export const isMissing = (error: Error): boolean => error instanceof ApiError && error.status === 404;

export function Empty({ children }: { readonly children: ReactNode }) {
  return <p className="state">{children}</p>;
}

/** What went wrong, and what can be done. */
export function Failure({ error, retry }: { readonly error: Error; readonly retry?: () => void }) {
  const away = error instanceof ApiError && error.passes;
  const title = isMissing(error)
    ? 'Not there'
    : error instanceof ApiError && error.status === 0
      ? 'The API does not answer'
      : away
        ? 'The store is away'
        : 'That did not work';
  return (
    <div className="notice bad" role="alert">
      <strong>{title}.</strong> {error.message}
      {retry === undefined ? null : (
        <>
          {' '}
          <button type="button" onClick={retry}>
            Try again
          </button>
        </>
      )}
    </div>
  );
}

/** What a question gives: that it is being asked, why it cannot be answered, that there is nothing, or the answer. */
export function Answer<T>({
  of,
  what,
  empty,
  children,
}: {
  readonly of: UseQueryResult<T>;
  readonly what: string;
  /** Shown where the answer is an empty list. */
  readonly empty?: ReactNode;
  readonly children: (data: T) => ReactNode;
}) {
  if (of.data === undefined)
    return of.error === null ? <Loading what={what} /> : <Failure error={of.error} retry={() => void of.refetch()} />;
  const nothing = Array.isArray(of.data) && of.data.length === 0 && empty !== undefined;
  return (
    <>
      {of.error === null ? null : <Failure error={of.error} retry={() => void of.refetch()} />}
      {nothing ? <Empty>{empty}</Empty> : children(of.data)}
    </>
  );
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Music pipeline`;
  }, [title]);
}
