# GitHub workflows sign in with Workload Identity Federation: GitHub signs a token that says which repository and
# which environment a job belongs to, and Google Cloud exchanges it for a short-lived token. No key exists.
#
# Jobs of the branch `main` in the GitHub environment `var.environment` may apply. Jobs of pull requests may plan: they
# read only. A workflow of another branch can name the same environment, so the branch is checked too.

locals {
  has_github = var.github_repository != null
  github_subjects = {
    deployer = "repo:${coalesce(var.github_repository, "none")}:environment:${var.environment}"
    planner  = "repo:${coalesce(var.github_repository, "none")}:pull_request"
  }
  github_conditions = [
    "(assertion.sub == '${local.github_subjects.deployer}' && assertion.ref == 'refs/heads/main')",
    "assertion.sub == '${local.github_subjects.planner}'",
  ]
  state_bucket = coalesce(var.state_bucket, "${var.project}-dropzone-state")

  deployer_roles = local.has_github ? toset(concat([
    "roles/artifactregistry.admin",
    "roles/cloudscheduler.admin",
    "roles/datastore.owner",
    "roles/eventarc.admin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountUser",
    "roles/iam.workloadIdentityPoolAdmin",
    "roles/logging.configWriter",
    "roles/monitoring.admin",
    "roles/pubsub.admin",
    "roles/resourcemanager.projectIamAdmin",
    "roles/run.admin",
    "roles/secretmanager.admin",
    "roles/serviceusage.serviceUsageAdmin",
  ], local.has_load_balancer ? ["roles/compute.loadBalancerAdmin", "roles/compute.securityAdmin"] : [])) : toset([])

  # A plan compares the configuration with the state of Terraform, and reads no resource. No role can read documents.
  planner_roles = local.has_github ? toset([
    "roles/browser",                           # the number of the project
    "roles/run.viewer",                        # the image that the API runs
    "roles/serviceusage.serviceUsageConsumer", # the provider names the project that pays for its requests
  ]) : toset([])
}

resource "google_iam_workload_identity_pool" "github" {
  count = local.has_github ? 1 : 0

  project                   = var.project
  workload_identity_pool_id = "dropzone-github"
  display_name              = "GitHub workflows of Dropzone"

  depends_on = [google_project_service.this]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  #checkov:skip=CKV_GCP_125:the condition names both subjects exactly; the check does not resolve the variable
  count = local.has_github ? 1 : 0

  project                            = var.project
  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"
  attribute_condition                = join(" || ", local.github_conditions)
  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "deployer" {
  count = local.has_github ? 1 : 0

  project      = var.project
  account_id   = "dropzone-deployer"
  display_name = "Applies the Terraform configuration of Dropzone"
}

resource "google_service_account" "planner" {
  count = local.has_github ? 1 : 0

  project      = var.project
  account_id   = "dropzone-planner"
  display_name = "Plans the Terraform configuration of Dropzone"
}

resource "google_service_account_iam_member" "github_deploys" {
  count = local.has_github ? 1 : 0

  service_account_id = google_service_account.deployer[0].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/subject/${local.github_subjects.deployer}"
}

resource "google_service_account_iam_member" "github_plans" {
  count = local.has_github ? 1 : 0

  service_account_id = google_service_account.planner[0].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/subject/${local.github_subjects.planner}"
}

resource "google_project_iam_member" "deployer" {
  for_each = local.deployer_roles

  project = var.project
  role    = each.value
  member  = google_service_account.deployer[0].member
}

resource "google_project_iam_member" "planner" {
  for_each = local.planner_roles

  project = var.project
  role    = each.value
  member  = google_service_account.planner[0].member
}

resource "google_storage_bucket_iam_member" "deployer_writes_state" {
  count = local.has_github ? 1 : 0

  bucket = local.state_bucket
  role   = "roles/storage.admin" # of this bucket; it also reads and sets the two bindings here
  member = google_service_account.deployer[0].member
}

resource "google_storage_bucket_iam_member" "planner_reads_state" {
  count = local.has_github ? 1 : 0

  bucket = local.state_bucket
  role   = "roles/storage.objectViewer"
  member = google_service_account.planner[0].member
}
