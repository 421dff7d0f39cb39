# The dashboard: a chart for each signal of signals.json that Google Cloud measures. The dashboard for Grafana comes from
# the same list.
#
# Cloud Monitoring returns a dashboard without zeros and empty lists. Each plan would change a dashboard that contains them.

locals {
  service_filter = "resource.type=\"cloud_run_revision\" resource.label.\"service_name\"="

  signal_resources = {
    api      = "${local.service_filter}\"${google_cloud_run_v2_service.api.name}\""
    function = "${local.service_filter}\"${google_cloud_run_v2_service.function.name}\""
    services = "${local.service_filter}starts_with(\"dropzone-\")"
    database = "resource.type=\"firestore.googleapis.com/Database\""
    audit    = "resource.type=\"cloud_scheduler_job\" resource.label.\"job_id\"=\"${google_cloud_scheduler_job.audit.name}\""
    events   = "resource.type=\"pubsub_subscription\" resource.label.\"subscription_id\"=\"${local.eventarc_subscription_id}\""
  }

  charts = [
    for signal in jsondecode(file("${path.module}/signals.json")) : merge(signal.google, { title = signal.title })
    if can(signal.google)
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
        for index, chart in local.charts : merge(
          { for axis, cells in { xPos = (index % 2) * 6, yPos = floor(index / 2) * 4 } : axis => cells if cells > 0 },
          {
            width  = 6
            height = 4
            widget = {
              title = chart.title
              xyChart = {
                dataSets = [{
                  plotType = "LINE"
                  timeSeriesQuery = {
                    timeSeriesFilter = {
                      filter = "metric.type=\"${chart.metric}\" ${local.signal_resources[chart.resource]}"
                      aggregation = merge(
                        {
                          alignmentPeriod    = "60s"
                          perSeriesAligner   = chart.aligner
                          crossSeriesReducer = chart.reducer
                        },
                        { for name in ["groupByFields"] : name => chart.group if length(chart.group) > 0 },
                      )
                    }
                  }
                }]
              }
            }
          },
        )
      ]
    }
  })

  depends_on = [google_project_service.this]
}
