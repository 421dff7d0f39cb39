// The tabs that the page opens with. A tab is named after its operation.

const SUBMIT = `# To submit a sample, press play (or Ctrl-Enter).
#
# The variables below hold fixture/sample.json as it is.
# Put a sample of your own in its place.
# The answer is PENDING (its result will follow) or
# REJECTED, with all that is wrong with the sample.
#
# Next: copy the id to the tab OneSample and press play
# there, or look for the result in LatestResults.
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

const SUBMIT_MANY = `# Many samples at once: press play.
#
# Each is answered for itself, in the same order. The
# third is wrong on purpose: REJECTED, and why.
#
# Next: for files and streams there is POST /samples,
# which takes a sample on each line.
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

const LATEST = `# The results computed last: press play.
#
# Next: narrow them down in the filter below (Ctrl-Space
# shows what it takes), or read on by giving the
# endCursor as "after".
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

const RANGE = `# Results within ranges: press play. All that are given
# must hold; bounds that are left out are open.
#
# Next: other ranges and another order (Ctrl-Space shows
# what there is); totalCount is read only when it is asked
# for.
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

const SUMMARY = `# All values of many results together, and the same day
# by day: press play.
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

const WATCH = `# Results as they are computed: press play, then submit
# samples from a second window of this page. To leave
# this tab, or to press the button again, ends it.
#
# Next: after an interruption, give the last cursor you
# saw as "after", and you miss nothing.
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

const ONE = `# One sample: put its id into the variables below and
# press play.
#
# Next: replace the word query by subscription to wait
# for the result instead of asking for it.
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

const MANY = `{
  "samples": [
    { "time_stamp": "2019-05-01T06:00:00-04:00", "data": [1, 2, 3] },
    { "time_stamp": "2019-05-01T06:01:00-04:00", "data": [0.5] },
    { "time_stamp": "2019-05-01T06:02:00", "data": [1, true] }
  ]
}`;

const RANGES = `{
  "filter": {
    "timestamp": { "gte": "2019-05-01T00:00:00Z", "lt": "2019-05-02T00:00:00Z" },
    "mean": { "gte": 0, "lte": 10 }
  }
}`;

/** `sample` is the text of a sample: as text, it stands in the editor as it stands in its file. */
export const tabs = (sample) => [
  { query: SUBMIT, variables: `{\n  "sample": ${sample.trim()}\n}` },
  { query: SUBMIT_MANY, variables: MANY },
  { query: LATEST, variables: '{\n  "filter": {}\n}' },
  { query: RANGE, variables: RANGES },
  { query: SUMMARY, variables: '{\n  "filter": {}\n}' },
  { query: WATCH, variables: '{\n  "filter": {},\n  "after": null\n}' },
  { query: ONE, variables: '{\n  "id": ""\n}' },
];
