// The statistics of a result. No other file of the dashboard lists them: types, queries, table, detail and filter use
// this list. To add a statistic, add a line. `name` is the field of the GraphQL type `Result`. A test compares the list
// with the schema.

interface Statistic {
  name: string;
  label: string;
  short: string; // the label where space is scarce
  table: 'always' | 'wide' | 'optional' | 'never'; // `wide`: only if the window is wide; `optional`: only on request
  detail: boolean;
  filter: boolean;
  nullable: boolean; // null if undefined for the sample, or in results of an older version
}

const STATISTICS = [
  { name: 'mean', label: 'Mean', short: 'Mean', table: 'always', detail: true, filter: true, nullable: false },
  { name: 'standardDeviation', label: 'Standard deviation', short: 'Std dev', table: 'always', detail: true, filter: true, nullable: false },
  { name: 'median', label: 'Median', short: 'Median', table: 'optional', detail: true, filter: false, nullable: true },
  { name: 'minimum', label: 'Minimum', short: 'Minimum', table: 'wide', detail: true, filter: false, nullable: false },
  { name: 'maximum', label: 'Maximum', short: 'Maximum', table: 'wide', detail: true, filter: false, nullable: false },
  { name: 'lowerQuartile', label: 'Lower quartile', short: 'Quartile 1', table: 'optional', detail: true, filter: false, nullable: true },
  { name: 'upperQuartile', label: 'Upper quartile', short: 'Quartile 3', table: 'optional', detail: true, filter: false, nullable: true },
  { name: 'skewness', label: 'Skewness', short: 'Skewness', table: 'never', detail: true, filter: false, nullable: true },
  { name: 'kurtosis', label: 'Kurtosis', short: 'Kurtosis', table: 'never', detail: true, filter: false, nullable: true },
  { name: 'count', label: 'Number of values', short: 'Values', table: 'always', detail: false, filter: true, nullable: false },
  { name: 'sum', label: 'Sum', short: 'Sum', table: 'optional', detail: false, filter: false, nullable: true },
  { name: 'sampleStandardDeviation', label: 'Sample standard deviation', short: 'Sample std dev', table: 'never', detail: false, filter: false, nullable: true },
  { name: 'percentile1', label: '1st percentile', short: 'Percentile 1', table: 'never', detail: false, filter: false, nullable: true },
  { name: 'percentile5', label: '5th percentile', short: 'Percentile 5', table: 'optional', detail: false, filter: false, nullable: true },
  { name: 'percentile95', label: '95th percentile', short: 'Percentile 95', table: 'optional', detail: false, filter: false, nullable: true },
  { name: 'percentile99', label: '99th percentile', short: 'Percentile 99', table: 'never', detail: false, filter: false, nullable: true },
] as const satisfies readonly Statistic[];

type Declared = (typeof STATISTICS)[number];
type NameOf<Property> = Extract<Declared, Property>['name'];

type InTable = { table: 'always' | 'wide' | 'optional' };

export type FilterStatistic = NameOf<{ filter: true }>;
export type TableStatistics = Record<NameOf<InTable & { nullable: false }>, number> &
  Record<NameOf<InTable & { nullable: true }>, number | null>;
export type DetailStatistics = Record<NameOf<{ detail: true; nullable: false }>, number> &
  Record<NameOf<{ detail: true; nullable: true }>, number | null>;

/** The statistics by which the server can order results. */
const ORDERS: readonly string[] = ['mean', 'standardDeviation', 'median', 'minimum', 'maximum', 'count'];

export const inTable = STATISTICS.filter(isInTable).map((statistic) => ({ ...statistic, isOrder: ORDERS.includes(statistic.name) }));
export const inDetail = STATISTICS.filter(isInDetail);
export const inFilter = STATISTICS.filter(isInFilter);

function isInTable(statistic: Declared): statistic is Extract<Declared, InTable> {
  return statistic.table !== 'never';
}

function isInDetail(statistic: Declared): statistic is Extract<Declared, { detail: true }> {
  return statistic.detail;
}

function isInFilter(statistic: Declared): statistic is Extract<Declared, { filter: true }> {
  return statistic.filter;
}

/** Replaces the spreads `...TableStatistics` and `...DetailStatistics` of a query by the fields. */
export function withStatistics(query: string): string {
  const spreads = { TableStatistics: inTable, DetailStatistics: inDetail };
  return query.replaceAll(/^( *)\.\.\.(TableStatistics|DetailStatistics)$/gm, (_, indent: string, name: string) =>
    spreads[name as keyof typeof spreads].map((statistic) => indent + statistic.name).join('\n'),
  );
}
