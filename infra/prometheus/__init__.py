"""The files for Prometheus and Grafana: alerts, and a dashboard that is generated from the list of signals."""
