"""The smoke test of a running Dropzone, on one machine or in the cloud."""
