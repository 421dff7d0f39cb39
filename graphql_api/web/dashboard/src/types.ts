// What the operations of this page answer, as far as the page reads it; a test holds them against the schema.
export type SampleState = 'PENDING' | 'COMPUTED' | 'FAILED' | 'REJECTED';

export interface Range {
  gte?: number | string;
  lt?: number | string;
  lte?: number | string;
}

export type ResultFilter = Partial<Record<'timestamp' | 'mean' | 'standardDeviation' | 'count', Range>>;

export interface Result {
  id: string;
  timestamp: string;
  mean: number;
  standardDeviation: number;
  count: number;
  minimum: number;
  maximum: number;
  computedAt: string;
}

export interface ResultEdge {
  cursor: string;
  node: Result;
}

export interface ResultPage {
  totalCount: number;
  edges: { node: Result }[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

export interface Summary {
  results: number;
  values: number;
  mean: number | null;
  standardDeviation: number | null;
  minimum: number | null;
  maximum: number | null;
}

export interface Problem {
  path: string;
  message: string;
  code: string;
}

export interface ProblemSample {
  id: string;
  state: SampleState;
  submittedAt: string;
  problems: Problem[];
}

export interface Histogram {
  edges: number[];
  counts: number[];
}

/** Statistics that results of an older version lack are null. */
export interface Statistics {
  timestamp: string;
  computedAt: string;
  mean: number;
  standardDeviation: number;
  sampleStandardDeviation: number | null;
  sum: number | null;
  minimum: number;
  lowerQuartile: number | null;
  median: number | null;
  upperQuartile: number | null;
  maximum: number;
  skewness: number | null;
  kurtosis: number | null;
  histogram: Histogram | null;
}

export interface Sample extends ProblemSample {
  timeStamp: string | null;
  count: number;
  bytes: number;
  sha256: string;
  result: Statistics | null;
}
