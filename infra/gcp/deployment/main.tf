# What `make deploy` applies: one Dropzone in one project, with its state in a bucket of that project.
# A team with a Terraform configuration of its own calls the module instead, as ../examples does.

terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.41, < 9.0"
    }
  }

  backend "gcs" {
    prefix = "dropzone" # `make deploy` passes the bucket
  }
}

provider "google" {
  project = var.project
  region  = var.region

  # The project pays for requests to APIs that need one, such as that of budgets.
  user_project_override = true
  billing_project       = var.project
}

module "dropzone" {
  source = "../"

  project                             = var.project
  region                              = var.region
  database_location                   = var.database_location
  image                               = var.image
  environment                         = var.environment
  labels                              = var.labels
  delete_protection                   = var.delete_protection
  daily_backup_days                   = var.daily_backup_days
  weekly_backup_weeks                 = var.weekly_backup_weeks
  shards                              = var.shards
  api                                 = var.api
  api_settings                        = var.api_settings
  trace_settings                      = var.trace_settings
  function                            = var.function
  notification_emails                 = var.notification_emails
  billing_account                     = var.billing_account
  monthly_budget                      = var.monthly_budget
  github_repository                   = var.github_repository
  domain                              = var.domain
  max_requests_per_minute_and_address = var.max_requests_per_minute_and_address
}
