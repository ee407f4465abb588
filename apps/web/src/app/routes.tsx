import { createBrowserRouter } from 'react-router';
import { DayPage } from '../pages/day-page';
import { DaysPage } from '../pages/days-page';
import { GenrePage } from '../pages/genre-page';
import { GenresPage } from '../pages/genres-page';
import { NotFoundPage } from '../pages/not-found-page';
import { OverviewPage } from '../pages/overview-page';
import { RunPage } from '../pages/run-page';
import { RunsPage } from '../pages/runs-page';
import { Layout } from './layout';

/** The page's addresses. Each survives a reload: filters are in the address, too. */
export const router = createBrowserRouter([
  {
    element: <Layout />,
    errorElement: <Layout broken />,
    children: [
      { path: '/', element: <OverviewPage /> },
      { path: '/days', element: <DaysPage /> },
      { path: '/days/:date', element: <DayPage /> },
      { path: '/genres', element: <GenresPage /> },
      { path: '/genres/:genre', element: <GenrePage /> },
      { path: '/runs', element: <RunsPage /> },
      { path: '/runs/:id', element: <RunPage /> },
      { path: '*', element: <NotFoundPage /> },
    ],
  },
]);
