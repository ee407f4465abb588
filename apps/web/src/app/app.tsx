import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from 'react-router';
import { ApiError } from '../api/client';
import { ZoneProvider } from './zone';
import { router } from './routes';

const TRIES = 3;

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // What changes is told by the stream; nothing is asked for by the clock.
      staleTime: 5 * 60_000,
      refetchOnWindowFocus: false,
      retry: (failures, error) => error instanceof ApiError && error.passes && failures < TRIES,
      retryDelay: (failures, error) =>
        error instanceof ApiError && error.retryAfterSeconds !== undefined
          ? error.retryAfterSeconds * 1_000
          : 1_000 * 2 ** failures,
    },
  },
});

export function App() {
  return (
    <QueryClientProvider client={queries}>
      <ZoneProvider>
        <RouterProvider router={router} />
      </ZoneProvider>
    </QueryClientProvider>
  );
}
