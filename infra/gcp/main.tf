# Names that several files use, and the Google Cloud APIs that the resources need.

locals {
  database_location = coalesce(var.database_location, var.region)
  has_load_balancer = var.domain != null
  labels            = merge(var.labels, { application = "dropzone", environment = var.environment })

  # Pub/Sub moves dead letters, and signs its requests to the function, with this identity of the project.
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  apis = toset(concat(
    [
      "artifactregistry.googleapis.com",
      "cloudscheduler.googleapis.com",
      "eventarc.googleapis.com",
      "firestore.googleapis.com",
      "iam.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
    ],
    local.has_load_balancer ? ["compute.googleapis.com"] : [],
    var.billing_account == null ? [] : ["billingbudgets.googleapis.com"],
    var.github_repository == null ? [] : ["iamcredentials.googleapis.com", "sts.googleapis.com"],
  ))
}

data "google_project" "this" {
  project_id = var.project
}

resource "google_project_service" "this" {
  for_each = local.apis

  project = var.project
  service = each.value

  disable_on_destroy = false # other software in the project may use the API
}
