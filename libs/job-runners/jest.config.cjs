module.exports = { displayName: '@music/job-runners', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
