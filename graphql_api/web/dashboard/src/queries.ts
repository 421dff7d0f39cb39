// The operations that request statistics.
import results from './operations/results.graphql';
import sample from './operations/sample.graphql';
import watch from './operations/watch.graphql';
import { withStatistics } from './statistics.ts';

export const resultsQuery = withStatistics(results);
export const sampleQuery = withStatistics(sample);
export const watchQuery = withStatistics(watch);
