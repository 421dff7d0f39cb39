# Two Cloud Run services and a job, from one image. The function accepts requests of Eventarc, Pub/Sub and
# Cloud Scheduler in this project; the API is public and requires API keys.

locals {
  port = 8080

  # Cloud Run's proxies terminate TLS and connect from link-local addresses. The API must trust their forwarded headers:
  # otherwise cookies lack `Secure`. To the API, all proxies have one address. The limits per address must therefore fit
  # all clients together. The limit of failed authentications does not apply to a valid key that the API has read before.
  api_defaults = {
    DROPZONE_TRUSTED_PROXIES                            = "169.254.0.0/16"
    DROPZONE_MAX_CONNECTIONS_PER_ADDRESS                = "4000"
    DROPZONE_MAX_UNAUTHENTICATED_WEBSOCKETS_PER_ADDRESS = "4000"
    DROPZONE_MAX_FAILED_AUTHENTICATIONS_PER_SECOND      = "1000"
    DROPZONE_MAX_MEMORY_MIB                             = tostring(floor(0.7 * local.memory_mib.api))
  }

  memory_mib = {
    for name, memory in { api = var.api.memory, function = var.function.memory } :
    name => tonumber(regex("^[0-9]+", memory)) * (endswith(memory, "Gi") ? 1024 : 1)
  }

  # The memory in MiB that Cloud Run allows for a number of CPUs.
  allowed_memory_mib = {
    "1" = { min = 512, max = 4096 }
    "2" = { min = 512, max = 8192 }
    "4" = { min = 2048, max = 16384 }
    "6" = { min = 4096, max = 24576 }
    "8" = { min = 4096, max = 32768 }
  }
  allowed_memory = {
    for name, cpu in { api = var.api.cpu, function = var.function.cpu } : name => local.allowed_memory_mib[cpu]
  }

  api_environment = merge(local.api_defaults, var.api_settings, var.trace_settings, {
    GOOGLE_CLOUD_PROJECT     = var.project
    DROPZONE_SHARDS          = tostring(var.shards)
    DROPZONE_MAX_REQUEST_MIB = "30" # Cloud Run refuses HTTP/1 requests above 32 MiB
  })

  # Cloud Run serves each service under two URLs. Eventarc uses one of them as the audience of its identity tokens.
  # The second URL contains a hash, which is not known before the service exists.
  function_name = "dropzone-function"
  function_urls = [
    "https://${local.function_name}-${data.google_project.this.number}.${var.region}.run.app",
    "https://${local.function_name}-*.a.run.app",
  ]

  function_environment = merge(var.trace_settings, {
    GOOGLE_CLOUD_PROJECT           = var.project
    DROPZONE_SHARDS                = tostring(var.shards)
    DROPZONE_EVENT_AUDIENCE        = join(",", local.function_urls)
    DROPZONE_EVENT_SERVICE_ACCOUNT = google_service_account.this["eventarc"].email
  })
}

resource "google_cloud_run_v2_service" "api" {
  project             = var.project
  name                = "dropzone-api"
  location            = var.region
  description         = "GraphQL and HTTP API of Dropzone"
  ingress             = local.has_load_balancer ? "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" : "INGRESS_TRAFFIC_ALL"
  deletion_protection = var.delete_protection
  labels              = local.labels

  template {
    service_account                  = google_service_account.this["api"].email
    timeout                          = "3600s" # subscriptions are requests; subscribers resume after the timeout
    max_instance_request_concurrency = var.api.concurrency
    session_affinity                 = true
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    labels                           = local.labels

    scaling {
      min_instance_count = var.api.min_instances
      max_instance_count = var.api.max_instances
    }

    containers {
      image = var.image
      args  = ["graphql_api"]

      ports {
        container_port = local.port
      }

      resources {
        limits            = { cpu = var.api.cpu, memory = var.api.memory }
        cpu_idle          = var.api.cpu_idle
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.api_environment

        content {
          name  = env.key
          value = env.value
        }
      }

      startup_probe {
        period_seconds    = 3
        timeout_seconds   = 2
        failure_threshold = 40

        http_get {
          path = "/readyz"
          port = local.port
        }
      }

      liveness_probe { # not /readyz: a new instance would not repair Firestore
        period_seconds    = 10
        timeout_seconds   = 5
        failure_threshold = 6

        http_get {
          path = "/healthz"
          port = local.port
        }
      }
    }
  }

  # After `gcloud run services update-traffic`, the next deployment sends all requests to its new version again. Without
  # this block, Terraform would keep the distribution, and the new version would get no requests.
  traffic {
    type    = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    percent = 100
  }

  lifecycle {
    precondition {
      condition     = local.memory_mib.api >= local.allowed_memory.api.min && local.memory_mib.api <= local.allowed_memory.api.max
      error_message = "With `api.cpu` ${var.api.cpu}, Cloud Run allows `api.memory` from ${local.allowed_memory.api.min}Mi to ${local.allowed_memory.api.max}Mi, got ${var.api.memory}."
    }
  }

  # A new API can store samples that an earlier function does not understand, so the function is updated first.
  depends_on = [google_project_iam_member.workloads, google_cloud_run_v2_service.function]
}

resource "google_cloud_run_v2_service" "function" {
  project             = var.project
  name                = local.function_name
  location            = var.region
  description         = "Computes the statistics of samples, and checks that every accepted sample gets a result"
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = var.delete_protection
  labels              = local.labels

  template {
    service_account                  = google_service_account.this["function"].email
    timeout                          = "600s" # the longest acknowledgement deadline of Eventarc's subscription
    max_instance_request_concurrency = var.function.concurrency
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    labels                           = local.labels

    scaling {
      min_instance_count = var.function.min_instances
      max_instance_count = var.function.max_instances
    }

    containers {
      image = var.image
      args  = ["triggers"]

      ports {
        container_port = local.port
      }

      resources {
        limits            = { cpu = var.function.cpu, memory = var.function.memory }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.function_environment

        content {
          name  = env.key
          value = env.value
        }
      }

      startup_probe {
        period_seconds    = 3
        timeout_seconds   = 2
        failure_threshold = 40

        http_get {
          path = "/readyz"
          port = local.port
        }
      }

      liveness_probe {
        period_seconds    = 10
        timeout_seconds   = 5
        failure_threshold = 6

        http_get {
          path = "/healthz"
          port = local.port
        }
      }
    }
  }

  traffic {
    type    = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    percent = 100
  }

  lifecycle {
    precondition {
      condition     = local.memory_mib.function >= local.allowed_memory.function.min && local.memory_mib.function <= local.allowed_memory.function.max
      error_message = "With `function.cpu` ${var.function.cpu}, Cloud Run allows `function.memory` from ${local.allowed_memory.function.min}Mi to ${local.allowed_memory.function.max}Mi, got ${var.function.memory}."
    }
  }

  # An instance is ready once it can read Firestore. A new version can need a new index: the version is deployed when
  # Firestore has built all indexes, those of single fields included.
  depends_on = [
    google_firestore_database.this,
    google_firestore_field.this,
    google_firestore_index.this,
    google_project_iam_member.workloads,
  ]
}

# `make deploy` executes this job: it stores the digest of the API key in Secret Manager.
resource "google_cloud_run_v2_job" "keys" {
  project             = var.project
  name                = "dropzone-keys"
  location            = var.region
  deletion_protection = false # it stores nothing
  labels              = local.labels

  template {
    labels = local.labels

    template {
      service_account       = google_service_account.this["keys"].email
      timeout               = "120s"
      max_retries           = 1
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"

      volumes {
        name = "key"

        secret {
          secret = google_secret_manager_secret.api_key.secret_id

          items {
            version = "latest"
            path    = "api-key"
            mode    = 292 # 0444
          }
        }
      }

      containers {
        image = var.image
        args = [
          "graphql_api.auth.keys", "ensure", "--file", "/secrets/api-key",
          "--submitter", "operator", "--scopes", "submit,read,admin", "--label", "made by make deploy",
        ]

        env {
          name  = "GOOGLE_CLOUD_PROJECT"
          value = var.project
        }

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        volume_mounts {
          name       = "key"
          mount_path = "/secrets"
        }
      }
    }
  }

  depends_on = [google_firestore_database.this, google_secret_manager_secret_iam_member.keys]
}
