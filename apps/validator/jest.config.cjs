module.exports = { displayName: '@music/validator', preset: '../../jest.preset.js', coverageDirectory: 'coverage' };
