# Sizes that only Cloud Run would refuse, after it has created other resources. A test that fails stops the other tests of
# its file, so this test has its own file.

mock_provider "google" {}

run "sizes_that_cloud_run_refuses_are_refused" {
  command = plan

  variables {
    project = "example-project"
    region  = "europe-west6"
    image   = "europe-west6-docker.pkg.dev/example-project/dropzone/dropzone:a"
    api     = { memory = "5Gi" } # at most 4 GiB for one CPU
  }

  expect_failures = [google_cloud_run_v2_service.api]
}
