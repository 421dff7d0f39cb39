# Invalid values are refused before anything is created. A plan stops at the first file with such a value, so all are
# in one test.

mock_provider "google" {}

run "invalid_values_are_refused" {
  command = plan

  variables {
    project             = "Example"
    region              = "europe-west6-a" # a zone
    database_location   = "europe"
    image               = "europe-west6-docker.pkg.dev/example-project/dropzone/dropzone" # no tag
    environment         = "Production"
    labels              = { Team = "x" }
    daily_backup_days   = 99
    weekly_backup_weeks = 15
    shards              = 0
    api                 = { min_instances = 5, max_instances = 4 }
    api_settings        = { DROPZONE_SHARDS = "2" }        # the variable `shards`
    trace_settings      = { DROPZONE_LOG_LEVEL = "debug" } # not of OpenTelemetry
    function            = { concurrency = 1001 }
    notification_emails = ["nobody"]
    billing_account     = "my account"
    monthly_budget      = 0
    github_repository   = "dropzone"
    domain              = "https://example.org"
  }

  expect_failures = [
    var.project,
    var.region,
    var.database_location,
    var.image,
    var.environment,
    var.labels,
    var.daily_backup_days,
    var.weekly_backup_weeks,
    var.shards,
    var.api,
    var.api_settings,
    var.trace_settings,
    var.function,
    var.notification_emails,
    var.billing_account,
    var.monthly_budget,
    var.github_repository,
    var.domain,
  ]
}
