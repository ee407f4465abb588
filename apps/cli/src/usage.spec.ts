import { date, positive } from './usage';

it('takes dates that are in the calendar', () => {
  expect(date('2024-02-29')).toBe('2024-02-29');
  for (const wrong of ['2023-02-29', '2024-6-25', 'yesterday', '2024-06-25T00:00:00Z', ''])
    expect(() => date(wrong)).toThrow(/YYYY-MM-DD/);
});

it('takes whole numbers from 1', () => {
  expect(positive('12')).toBe(12);
  for (const wrong of ['0', '-1', '1.5', 'many', '']) expect(() => positive(wrong)).toThrow(/whole number/);
});
