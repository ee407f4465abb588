import { Link } from 'react-router';
import { useTitle } from '../parts/states';

export function NotFoundPage() {
  useTitle('Not there');
  return (
    <section className="narrow">
      <h1>There is no such page</h1>
      <p>
        The <Link to="/">overview</Link> has links to what there is.
      </p>
    </section>
  );
}
