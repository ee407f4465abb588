module.exports = { displayName: '@music/end-to-end', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
