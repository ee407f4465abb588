import { App, type AppProps, BootstraplessSynthesizer } from 'aws-cdk-lib';
import { MusicStack } from './music-stack';

export const STACK_NAME = 'music-streaming-pipeline';

/** The app with its one stack, for whatever account and region it is deployed to; nothing has to be bootstrapped. */
export function musicApp(props: AppProps = {}): App {
  const app = new App({ analyticsReporting: false, ...props });
  new MusicStack(app, STACK_NAME, { synthesizer: new BootstraplessSynthesizer() });
  return app;
}
