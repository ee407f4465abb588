module.exports = { displayName: '@music/local-stack', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
