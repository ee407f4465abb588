module.exports = { displayName: '@music/glue-trigger', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
