// node tools/make-samples.mjs: writes samples/streams, songs and users. Seeded: the same files every time.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const samples = path.join(path.dirname(path.dirname(fileURLToPath(import.meta.url))), 'samples');
const DAYS = ['2026-03-01', '2026-03-02'];
const GENRES = [
  'ambient',
  'bossa nova',
  'chanson française',
  'dub',
  'electro-swing',
  'folk',
  'Götter-Metal',
  'hip-hop',
  'jazz & blues',
];
const WORDS = [
  'Amber',
  'Bridge',
  'Canyon',
  'Drift',
  'Echo',
  'Fjord',
  'Glass',
  'Harbour',
  'Été',
  'Jumble',
  '夜',
  'Lantern',
  'Meadow',
  'Northern',
  'Orbit',
  'Paper',
  'Quartz',
  'River',
  'Signal',
  'Tide',
];
const COUNTRIES = ['Austria', 'Brazil', 'Canada', 'Denmark', 'Estonia', 'France', 'Ghana', 'Hungary', 'India', 'Japan'];

let seed = 20260301;
/** A whole number from 0 to below n (the generator of Park and Miller). */
const random = (n) => {
  seed = (seed * 48_271) % 2_147_483_647;
  return seed % n;
};
/** Small numbers are more likely, as few songs are listened to most. */
const skewed = (n) => Math.min(random(n), random(n), random(n));
const pad = (n, width) => String(n).padStart(width, '0');
const field = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const csv = (header, rows) =>
  `${[header, ...rows].map((row) => row.map((each) => field(String(each))).join(',')).join('\n')}\n`;
const write = (name, text) => {
  mkdirSync(path.dirname(path.join(samples, name)), { recursive: true });
  writeFileSync(path.join(samples, name), text);
};

const users = Array.from({ length: 300 }, (_, i) => [
  i + 1,
  `Listener ${i + 1}`,
  16 + random(60),
  COUNTRIES[random(COUNTRIES.length)],
  `2025-${pad(1 + random(12), 2)}-${pad(1 + random(28), 2)}`,
]);
write('users/users.csv', csv(['user_id', 'user_name', 'user_age', 'user_country', 'created_at'], users));

const track = (i) => `trk${pad(i, 4)}`;
const name = (i) => {
  const base = `${WORDS[i % 20]} ${WORDS[random(20)]}`;
  return { 3: `${base}, Pt. 2`, 7: `The "${base}"`, 11: `${base}\n(live)`, 13: '' }[i] ?? base; // the 14th song has no name
};
const songs = Array.from({ length: 190 }, (_, i) => [
  i,
  track(i),
  `Artist ${random(60)}${i % 9 === 0 ? `;Artist ${random(60)}` : ''}`,
  name(i),
  random(100),
  i === 17 ? 'unknown' : 90_000 + random(300_000),
  GENRES[i % 9],
]);
// Ten more rows: tracks that are in a second genre, one of them there twice with another popularity.
for (let i = 0; i < 9; i += 1)
  songs.push([
    190 + i,
    track(i * 5),
    songs[i * 5][2],
    songs[i * 5][3],
    songs[i * 5][4],
    songs[i * 5][5],
    GENRES[(i + 4) % 9],
  ]);
songs.push([199, track(5), songs[5][2], 'A less popular edition', Math.max(0, songs[5][4] - 1), 1_000, songs[5][6]]);
write(
  'songs/songs.csv',
  csv(['id', 'track_id', 'artists', 'track_name', 'popularity', 'duration_ms', 'track_genre'], songs),
);

const time = (day, second) =>
  `${day} ${pad(Math.floor(second / 3600), 2)}:${pad(Math.floor(second / 60) % 60, 2)}:${pad(second % 60, 2)}`;
const listens = DAYS.map((day) =>
  Array.from({ length: 990 }, () => [1 + skewed(300), track(skewed(190)), time(day, random(86_400))]),
);

/** Listens of a track on a day, as many as `wanted` in all: so that two songs are level. */
const level = (rows, id, day, wanted) => {
  for (let n = rows.filter((row) => row[1] === id).length, user = 1; n < wanted; n += 1, user += 1)
    rows.push([user, id, time(day, 43_200 + user)]);
};
const [first, second] = listens;
const most =
  Math.max(...['trk0188', 'trk0179', 'trk0170'].map((id) => first.filter((row) => row[1] === id).length)) + 40;
for (const id of ['trk0188', 'trk0179', 'trk0170', 'trk0161']) level(first, id, DAYS[0], most); // four level songs of one genre, three places
for (const user of [5, 6, 7]) second.push([user, 'trk9999', time(DAYS[1], 36_000 + user)]); // a track that songs does not have
second.push([9_001, 'trk0001', time(DAYS[1], 100)]); // a user that users does not have
second.push([8, 'trk0002', `${DAYS[0]}T23:30:00-05:00`]); // a listen of the second day, in UTC
second.push([first[10][0], first[10][1], first[10][2]]); // a listen that the first file has, too
first.push([...first[20]]); // twice in one file
first.push(
  ['', 'trk0001', time(DAYS[0], 1)],
  [9, '', time(DAYS[0], 2)],
  [10, 'trk0001', ''],
  [11, 'trk0001', '01.03.2026 10:00'],
  [12, 'trk0001', `${DAYS[0]} 25:00:00`],
);
write('streams/2026-03-01.csv', csv(['user_id', 'track_id', 'listen_time'], first));
// The second file has its columns in another order, one more of them, and Windows line ends.
write(
  'streams/2026-03-02.csv',
  `\ufeff${csv(
    ['listen_time', 'device', 'user_id', 'track_id'],
    second.map(([user, id, at], i) => [at, ['phone', 'car', 'desk, left'][i % 3], ` ${user}`, id]),
  ).replaceAll('\n', '\r\n')}`,
);
