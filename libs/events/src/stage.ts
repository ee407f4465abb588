/** The stages in the order in which the data passes them; each is one service. */
export const STAGES = ['sensor', 'combiner', 'validator', 'glue-trigger', 'archiver'] as const;
export type Stage = (typeof STAGES)[number];
