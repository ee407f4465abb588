module.exports = { displayName: '@music/k8s', preset: '../jest.preset.js', coverageDirectory: 'coverage' };
