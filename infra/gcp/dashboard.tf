# One dashboard: traffic from left to right, as a sample goes: API, Firestore, events, function.

locals {
  run_filter = "resource.type=\"cloud_run_revision\" resource.label.\"service_name\"="

  charts = [
    { title = "Requests to the API by status", filter = "metric.type=\"run.googleapis.com/request_count\" ${local.run_filter}\"${google_cloud_run_v2_service.api.name}\"", aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", group = ["metric.label.\"response_code_class\""] },
    { title = "API instances", filter = "metric.type=\"run.googleapis.com/container/instance_count\" ${local.run_filter}\"${google_cloud_run_v2_service.api.name}\"", aligner = "ALIGN_MAX", reducer = "REDUCE_SUM", group = ["metric.label.\"state\""] },
    { title = "Firestore requests by method", filter = "metric.type=\"firestore.googleapis.com/api/request_count\" resource.type=\"firestore.googleapis.com/Database\"", aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", group = ["metric.label.\"api_method\""] },
    { title = "Age of the oldest waiting event, in seconds", filter = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" resource.type=\"pubsub_subscription\" resource.label.\"subscription_id\"=\"${local.eventarc_subscription_id}\"", aligner = "ALIGN_MAX", reducer = "REDUCE_MAX", group = [] },
    { title = "Events given up", filter = "metric.type=\"pubsub.googleapis.com/subscription/dead_letter_message_count\" resource.type=\"pubsub_subscription\" resource.label.\"subscription_id\"=\"${local.eventarc_subscription_id}\"", aligner = "ALIGN_DELTA", reducer = "REDUCE_SUM", group = [] },
    { title = "Events to the function by status", filter = "metric.type=\"run.googleapis.com/request_count\" ${local.run_filter}\"${google_cloud_run_v2_service.function.name}\"", aligner = "ALIGN_RATE", reducer = "REDUCE_SUM", group = ["metric.label.\"response_code_class\""] },
    { title = "Time per event, 99th percentile in milliseconds", filter = "metric.type=\"run.googleapis.com/request_latencies\" ${local.run_filter}\"${google_cloud_run_v2_service.function.name}\"", aligner = "ALIGN_PERCENTILE_99", reducer = "REDUCE_MAX", group = [] },
    { title = "Function instances", filter = "metric.type=\"run.googleapis.com/container/instance_count\" ${local.run_filter}\"${google_cloud_run_v2_service.function.name}\"", aligner = "ALIGN_MAX", reducer = "REDUCE_SUM", group = ["metric.label.\"state\""] },
  ]
}

resource "google_monitoring_dashboard" "dropzone" {
  project = var.project

  dashboard_json = jsonencode({
    displayName = "Dropzone"
    labels      = local.labels
    mosaicLayout = {
      columns = 12
      tiles = [
        for index, chart in local.charts : {
          xPos   = (index % 2) * 6
          yPos   = floor(index / 2) * 4
          width  = 6
          height = 4
          widget = {
            title = chart.title
            xyChart = {
              dataSets = [{
                plotType = "LINE"
                timeSeriesQuery = {
                  timeSeriesFilter = {
                    filter = chart.filter
                    aggregation = {
                      alignmentPeriod    = "60s"
                      perSeriesAligner   = chart.aligner
                      crossSeriesReducer = chart.reducer
                      groupByFields      = chart.group
                    }
                  }
                }
              }]
            }
          }
        }
      ]
    }
  })

  depends_on = [google_project_service.this]
}
