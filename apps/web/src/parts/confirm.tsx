import { newKey } from '../api/client';
import { type ReactNode, useEffect, useRef, useState } from 'react';

/**
 * Asks once more before something is done, and says what it will do. `act` gets a key that stays the same for this
 * dialog, so that pressing again asks for nothing new.
 */
export function Confirm({
  title,
  children,
  action,
  act,
  close,
}: {
  readonly title: string;
  readonly children: ReactNode;
  readonly action: string;
  readonly act: (key: string) => Promise<void>;
  readonly close: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [key] = useState(newKey);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();
  useEffect(() => dialog.current?.showModal(), []);
  const go = () => {
    setBusy(true);
    setProblem(undefined);
    act(key).then(close, (error: Error) => {
      setProblem(error.message);
      setBusy(false);
    });
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="confirm-title">
      <h2 id="confirm-title">{title}</h2>
      {children}
      {problem === undefined ? null : (
        <p className="notice bad" role="alert">
          {problem}
        </p>
      )}
      <p className="buttons">
        <button type="button" onClick={close}>
          Leave it
        </button>
        <button type="button" className="primary" disabled={busy} onClick={go}>
          {action}
        </button>
      </p>
    </dialog>
  );
}
