// The default tabs. A tab has the name of its operation. Their times are of today, like those of most stored results.

const SUBMIT = `# To submit a sample, press play (or Ctrl-Enter).
#
# The variables below contain the values of
# fixture/sample.json with the current time. Replace them
# with a sample of your own.
# The state is PENDING (the result follows) or REJECTED,
# with all problems of the sample.
#
# Next: copy the id to the tab OneSample and press play
# there, or find the result in LatestResults.
mutation SubmitSample($sample: RawSample!) {
  submit(sample: $sample) {
    id
    state
    problems {
      path
      message
      code
    }
    result {
      timestamp
      mean
      standardDeviation
      count
    }
  }
}
`;

const SUBMIT_MANY = `# To submit many samples at once, press play.
#
# The response has one receipt for each sample, in the same
# order. The third sample is invalid on purpose, so it is
# REJECTED.
#
# Next: for files and streams use POST /samples, which
# accepts one sample per line.
mutation SubmitMany($samples: [RawSample!]!) {
  submitMany(samples: $samples) {
    id
    state
    problems {
      path
      message
    }
  }
}
`;

const LATEST = `# To list the newest results, press play (or Ctrl-Enter).
# If there are none yet, submit one in the tab SubmitSample.
#
# Next: set the filter below (Ctrl-Space lists its
# fields), or pass the endCursor as "after" to read the
# next page.
query LatestResults($filter: ResultFilter, $after: String) {
  results(
    filter: $filter
    orderBy: { field: COMPUTED_AT, direction: DESC }
    first: 10
    after: $after
  ) {
    edges {
      node {
        id
        timestamp
        mean
        standardDeviation
        count
        computedAt
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
`;

const RANGE = `# To list results within ranges, press play. A result
# must match all ranges. If a bound is missing, the range
# is unlimited on that side.
#
# Next: try other ranges and another order (Ctrl-Space
# lists them). Remove totalCount if you do not need it:
# the server counts only on request.
query ResultsInRange($filter: ResultFilter!) {
  results(
    filter: $filter
    orderBy: { field: MEAN, direction: ASC }
    first: 10
  ) {
    totalCount
    edges {
      node {
        id
        timestamp
        mean
        standardDeviation
        minimum
        maximum
        count
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
`;

const SUMMARY = `# To summarize all values of many results, in total and
# per day, press play.
query Summary($filter: ResultFilter) {
  resultsSummary(filter: $filter) {
    results
    values
    mean
    standardDeviation
    minimum
    maximum
  }
  resultsOverTime(filter: $filter, bucket: DAY) {
    start
    results
    mean
    standardDeviation
  }
}
`;

const BY_LABEL = `# To compare the results for each value of a label, press
# play. The response has the quantiles and the latest
# result for each value.
# Summaries of results that are selected by time stamp and
# labels are fast, even of millions of results.
#
# Next: replace source by one of your labelNames. Add a
# range of time stamps to the filter.
query ByLabel($filter: ResultFilter, $groupBy: [String!]!) {
  resultsSummary(filter: $filter, groupBy: $groupBy) {
    quantileError
    groups {
      labels {
        name
        value
      }
      results
      mean
      median
      percentile5
      percentile95
    }
  }
  latestResults(filter: $filter, groupBy: $groupBy) {
    id
    timestamp
    mean
    labels {
      name
      value
    }
  }
  labelNames
}
`;

const WATCH = `# To watch results as they are computed, press play, then
# submit samples from a second window of this page. Press
# the button again, or leave this tab, to stop.
#
# Next: after an interruption, pass the last cursor as
# "after" to miss no result.
subscription WatchResults($filter: ResultFilter, $after: String) {
  results(filter: $filter, after: $after) {
    cursor
    node {
      id
      timestamp
      mean
      standardDeviation
      count
    }
  }
}
`;

const ONE = `# To read one sample, put its id into the variables below
# and press play.
#
# Next: replace the word query by subscription to wait
# for the result.
query OneSample($id: ID!) {
  sample(id: $id) {
    state
    problems {
      path
      message
      code
    }
    submittedAt
    count
    result {
      timestamp
      mean
      standardDeviation
      computedAt
    }
  }
}
`;

const DAY = 86_400_000;
const time = (milliseconds) => new Date(milliseconds).toISOString().replace(/\.\d+Z$/, 'Z');

const many = (now) => `{
  "samples": [
    { "time_stamp": "${time(now - 120_000)}", "data": [1, 2, 3] },
    { "time_stamp": "${time(now - 60_000)}", "data": [0.5] },
    { "time_stamp": "${time(now).replace('Z', '')}", "data": [1, true] }
  ]
}`;

/** The ranges contain the example of `make run`, and most other results of the last week. */
const ranges = (now) => `{
  "filter": {
    "timestamp": { "gte": "${time(now - 7 * DAY)}", "lt": "${time(now + DAY)}" },
    "mean": { "gte": 0 }
  }
}`;

/** Returns the text of a sample with another time, and with a label that filters can leave out. */
const current = (sample, now) =>
  sample.trim().replace(/"time_stamp": *"[^"]*"/, `"time_stamp": "${time(now)}", "labels": {"source": "example"}`);

/** `sample` is the text of a sample. The editor displays it with the line breaks of its file. */
export const tabs = (sample, now = Date.now()) => [
  { query: LATEST, variables: '{\n  "filter": {}\n}' },
  { query: SUBMIT, variables: `{\n  "sample": ${current(sample, now)}\n}` },
  { query: SUBMIT_MANY, variables: many(now) },
  { query: RANGE, variables: ranges(now) },
  { query: SUMMARY, variables: '{\n  "filter": {}\n}' },
  { query: BY_LABEL, variables: '{\n  "filter": {},\n  "groupBy": ["source"]\n}' },
  { query: WATCH, variables: '{\n  "filter": {},\n  "after": null\n}' },
  { query: ONE, variables: '{\n  "id": ""\n}' },
];
