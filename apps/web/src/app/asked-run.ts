import { useLocation, useNavigate } from 'react-router';

/** Left in the history beside a run's address, so that it holds after a reload, too. */
const ASKED = { asked: true };

/** Goes to a run that was asked for: the API has answered, but there is no such run until the sensor takes it up. */
export function useGoToAskedRun(): (runId: string) => Promise<void> {
  const navigate = useNavigate();
  return async (runId) => navigate(`/runs/${runId}`, { state: ASKED });
}

/** Whether this page was come to by asking for its run. */
export function useWasAsked(): boolean {
  return (useLocation().state as Partial<typeof ASKED> | null)?.asked === true;
}
