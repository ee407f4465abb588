module.exports = { displayName: '@music/archiver', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
