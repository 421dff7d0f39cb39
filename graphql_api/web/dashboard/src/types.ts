// The parts of responses that this page reads. A test compares the operations with the schema.
import type { DetailStatistics, FilterStatistic, TableStatistics } from './statistics.ts';

export type SampleState = 'PENDING' | 'COMPUTED' | 'SUPERSEDED' | 'FAILED' | 'REJECTED' | 'DELETED';

export interface Range {
  gte?: number | string;
  lt?: number | string;
  lte?: number | string;
}

export type Ranges = Partial<Record<'timestamp' | FilterStatistic, Range>>;

export interface ResultFilter extends Ranges {
  labels?: readonly Label[];
}

export interface SampleFilter {
  state?: SampleState;
  labels?: readonly Label[];
}

export type Result = TableStatistics & {
  id: string;
  timestamp: string;
  computedAt: string;
  labels: Label[];
};

export interface ResultEdge {
  cursor: string;
  node: Result;
}

/** The record of a deleted sample. The reason can be empty. */
export interface DeletedSample {
  deletedAt: string;
  reason: string;
}

export interface Removal {
  id: string;
  removedAt: string;
}

export interface RemovalEdge {
  cursor: string;
  node: Removal;
}

export interface ResultPage {
  totalCount: number;
  edges: { node: Result }[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

/** The statistics of all values of many results. Without results, the statistics are null. */
export interface SummaryStatistics {
  results: number;
  mean: number | null;
  standardDeviation: number | null;
  median: number | null;
  percentile5: number | null;
  percentile95: number | null;
  minimum: number | null;
  maximum: number | null;
}

export interface Summary extends SummaryStatistics {
  archivedResults: number | null;
  values: number;
  quantileError: number | null;
  groups: (SummaryStatistics & { labels: Label[] })[];
}

/** The result of a line with the latest time stamp. */
export type LatestResult = Pick<Result, 'id' | 'timestamp' | 'mean' | 'labels'>;

/** The statistics of all values in a time bucket. */
export interface Bucket {
  start: string;
  results: number;
  mean: number | null;
  standardDeviation: number | null;
  labels: Label[];
}

export interface Problem {
  path: string;
  message: string;
  code: string;
}

/** A sample as a list of samples in one state displays it. */
export interface ListedSample {
  id: string;
  state: SampleState;
  submittedAt: string;
  problems: Problem[];
  count: number;
  labels: Label[];
}

export interface Histogram {
  edges: number[];
  counts: number[];
}

export type ResultDetail = DetailStatistics & {
  timestamp: string;
  computedAt: string;
  supersededBy: string | null;
  histogram: Histogram | null;
};

export type TimelineEvent =
  | 'STORED'
  | 'REJECTED'
  | 'ATTEMPTS_FAILED'
  | 'RECOMPUTATION_REQUESTED'
  | 'COMPUTED'
  | 'RECOMPUTED'
  | 'FAILED'
  | 'SUPERSEDED';

export interface TimelineEntry {
  at: string;
  event: TimelineEvent;
  detail: string | null;
}

export interface Label {
  name: string;
  value: string;
}

export interface Sample extends ListedSample {
  timeline: TimelineEntry[];
  timeStamp: string | null;
  missingCount: number;
  bytes: number;
  sha256: string;
  result: ResultDetail | null;
}
