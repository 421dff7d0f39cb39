# A budget only sends notifications. It does not limit the costs.

resource "google_billing_budget" "dropzone" {
  count = var.billing_account == null ? 0 : 1

  billing_account = var.billing_account
  display_name    = "Dropzone in ${var.project}"

  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }

  amount {
    specified_amount {
      units = tostring(var.monthly_budget)
    }
  }

  threshold_rules {
    threshold_percent = 0.5
  }

  threshold_rules {
    threshold_percent = 1.0
  }

  threshold_rules {
    threshold_percent = 1.2
    spend_basis       = "FORECASTED_SPEND"
  }

  dynamic "all_updates_rule" {
    for_each = length(local.notification_channels) == 0 ? [] : [true]

    content {
      monitoring_notification_channels = slice(local.notification_channels, 0, min(5, length(local.notification_channels)))
    }
  }

  depends_on = [google_project_service.this]
}
