# A team's own configuration that calls the module: staging and production, each in a project of its own, because the
# module uses the database `(default)`. Both run the same image; production gets it after staging.
#
# The job `dropzone-keys` needs a version of the secret before it can be created. So the first time, for each project:
#
#   terraform init
#   terraform apply -target=module.staging.google_secret_manager_secret.api_key
#   python -c 'from graphql_api.auth.api_keys import new_key; print(new_key(), end="")' |
#     gcloud secrets versions add dropzone-api-key --project=example-staging --data-file=-
#   terraform apply -target=module.staging
#
# Then, in the root of the repository:
#
#   PROJECT=example-staging sh infra/gcp/subscription.sh set
#   gcloud run jobs execute dropzone-keys --project=example-staging --region=europe-west6 --wait

terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.41, < 9.0"
    }
  }

  backend "gcs" {
    bucket = "example-terraform-state"
    prefix = "dropzone"
  }
}

provider "google" {
  region = "europe-west6"
}

variable "image" {
  description = "Image with a digest, in a repository that both projects can read."
  type        = string
}

module "staging" {
  source = "../.."

  project           = "example-staging"
  region            = "europe-west6"
  environment       = "staging"
  image             = var.image
  shards            = 1
  delete_protection = false
  daily_backup_days = 1
  api               = { min_instances = 0, max_instances = 2 }
  function          = { max_instances = 2 }
}

module "production" {
  source = "../.."

  project             = "example-production"
  region              = "europe-west6"
  database_location   = "eur3"
  environment         = "production"
  image               = var.image
  shards              = 8
  labels              = { team = "measurements" }
  api                 = { min_instances = 2, max_instances = 40, cpu_idle = false }
  function            = { min_instances = 1, max_instances = 40 }
  notification_emails = ["dropzone-operators@example.org"]
  billing_account     = "01AB23-CD45EF-678901"
  monthly_budget      = 2000
  domain              = "dropzone.example.org"
}

output "urls" {
  description = "URLs of both APIs."
  value       = { staging = module.staging.api_url, production = module.production.api_url }
}
