# Optional, if `domain` is set: an external HTTPS load balancer with Cloud Armor. The API then accepts requests of the
# load balancer only. The DNS record of the domain must point to the output `load_balancer_address`.

locals {
  balanced = local.has_load_balancer ? 1 : 0
}

resource "google_compute_global_address" "api" {
  count = local.balanced

  project = var.project
  name    = "dropzone-api"
  labels  = local.labels

  depends_on = [google_project_service.this]
}

# Another domain needs a new certificate, and Google refuses to delete a certificate that the load balancer uses. For a
# moment, both certificates exist, so they need different names.
resource "google_compute_managed_ssl_certificate" "api" {
  count = local.balanced

  project = var.project
  name    = "dropzone-api-${substr(sha256(var.domain), 0, 8)}"

  managed {
    domains = [var.domain]
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [google_project_service.this]
}

resource "google_compute_ssl_policy" "api" {
  count = local.balanced

  project         = var.project
  name            = "dropzone-api"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"

  depends_on = [google_project_service.this]
}

resource "google_compute_security_policy" "api" {
  #checkov:skip=CKV_GCP_73:the API is written in Python and contains no Log4j
  count = local.balanced

  project     = var.project
  name        = "dropzone-api"
  description = "Limits the requests of each client address, and hides /metrics"

  rule {
    action      = "deny(404)"
    priority    = 1000
    description = "Metrics are for the operator"

    match {
      expr {
        expression = "request.path.urlDecode() == '/metrics'" # the API decodes the path too
      }
    }
  }

  rule {
    action      = "throttle"
    priority    = 2000
    description = "Limit of each client address"

    match {
      versioned_expr = "SRC_IPS_V1"

      config {
        src_ip_ranges = ["*"]
      }
    }

    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"

      rate_limit_threshold {
        count        = var.max_requests_per_minute_and_address
        interval_sec = 60
      }
    }
  }

  rule {
    action      = "allow"
    priority    = 2147483647
    description = "Default: the API checks keys and has limits of its own"

    match {
      versioned_expr = "SRC_IPS_V1"

      config {
        src_ip_ranges = ["*"]
      }
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_compute_region_network_endpoint_group" "api" {
  count = local.balanced

  project               = var.project
  name                  = "dropzone-api"
  region                = var.region
  network_endpoint_type = "SERVERLESS"

  cloud_run {
    service = google_cloud_run_v2_service.api.name
  }

  depends_on = [google_project_service.this]
}

resource "google_compute_backend_service" "api" {
  count = local.balanced

  project               = var.project
  name                  = "dropzone-api"
  protocol              = "HTTPS"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  security_policy       = google_compute_security_policy.api[0].id

  backend {
    group = google_compute_region_network_endpoint_group.api[0].id
  }

  log_config {
    enable      = true
    sample_rate = 0.01 # Cloud Run logs every request already
  }
}

resource "google_compute_url_map" "api" {
  count = local.balanced

  project         = var.project
  name            = "dropzone-api"
  default_service = google_compute_backend_service.api[0].id
}

resource "google_compute_target_https_proxy" "api" {
  count = local.balanced

  project          = var.project
  name             = "dropzone-api"
  url_map          = google_compute_url_map.api[0].id
  ssl_certificates = [google_compute_managed_ssl_certificate.api[0].id]
  ssl_policy       = google_compute_ssl_policy.api[0].id
}

resource "google_compute_global_forwarding_rule" "api" {
  count = local.balanced

  project               = var.project
  name                  = "dropzone-api"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.api[0].id
  port_range            = "443"
  target                = google_compute_target_https_proxy.api[0].id
  labels                = local.labels
}
